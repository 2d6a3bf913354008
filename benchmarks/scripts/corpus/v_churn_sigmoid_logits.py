import argparse

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class ChurnNet(nn.Module):
    def __init__(self, num_features, hidden=(128, 64), p=0.2):
        super().__init__()
        blocks = []
        last = num_features
        for h in hidden:
            blocks += [nn.Linear(last, h), nn.ReLU(), nn.Dropout(p)]
            last = h
        self.body = nn.Sequential(*blocks)
        self.out = nn.Linear(last, 1)

    def forward(self, x):
        x = self.body(x)
        return torch.sigmoid(self.out(x))


def load(path):
    blob = np.load(path)
    return TensorDataset(torch.from_numpy(blob["x"]).float(), torch.from_numpy(blob["y"]).float())


def run_epoch(net, loader, criterion, optimizer, device):
    net.train()
    total = 0.0
    for xb, yb in loader:
        xb, yb = xb.to(device), yb.to(device)
        prob = net(xb).squeeze(1)
        loss = criterion(prob, yb)  # expect: NA502
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    return total / len(loader.dataset)


def score(net, loader, device):
    net.eval()
    ys, ps = [], []
    with torch.no_grad():
        for xb, yb in loader:
            ps.append(net(xb.to(device)).squeeze(1).cpu())
            ys.append(yb)
    return roc_auc_score(torch.cat(ys), torch.cat(ps))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", default=30, type=int)
    ap.add_argument("--pos-weight", default=3.2, type=float)
    args = ap.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_ds, val_ds = load("train.npz"), load("val.npz")
    net = ChurnNet(train_ds.tensors[0].shape[1]).to(device)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(args.pos_weight, device=device))
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    train_loader = DataLoader(train_ds, batch_size=256, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=1024)
    best = 0
    for epoch in range(args.epochs):
        loss = run_epoch(net, train_loader, criterion, optimizer, device)
        auc = score(net, val_loader, device)
        print(epoch, loss, auc)
        if auc > best:
            best = auc
            torch.save(net.state_dict(), "churn.pt")


if __name__ == "__main__":
    main()
