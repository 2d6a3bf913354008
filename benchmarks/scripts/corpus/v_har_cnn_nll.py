import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from har import HARDataset


class HARNet(nn.Module):
    """1D CNN over accelerometer windows."""

    def __init__(self, channels=9, classes=6):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, 64, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(64)
        self.conv2 = nn.Conv1d(64, 128, 5, padding=2)
        self.bn2 = nn.BatchNorm1d(128)
        self.fc = nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x))).mean(-1)
        return F.softmax(self.fc(x), dim=-1)


def step(net, batch, device):
    x, y = (t.to(device) for t in batch)
    out = net(x)
    return F.nll_loss(out, y), (out.argmax(-1) == y).float().mean()  # expect: NA501:error


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=60)
    args = ap.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = HARNet().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)  # expect: NA508:info
    train_loader = DataLoader(HARDataset("train"), 128, shuffle=True)
    test_loader = DataLoader(HARDataset("test"), 512)
    writer = SummaryWriter()
    for epoch in range(args.epochs):
        net.train()
        for batch in train_loader:
            loss, acc = step(net, batch, device)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            accs = [step(net, batch, device)[1].item() for batch in test_loader]
        writer.add_scalar("test/acc", sum(accs) / len(accs), epoch)


if __name__ == "__main__":
    main()
