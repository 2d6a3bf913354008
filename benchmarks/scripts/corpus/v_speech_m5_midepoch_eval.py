import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from speechcommands import SubsetSC, collate_fn


class M5(nn.Module):
    def __init__(self, n_input=1, n_output=35, stride=16, n_channel=32):
        super().__init__()
        self.conv1 = nn.Conv1d(n_input, n_channel, 80, stride=stride)
        self.bn1 = nn.BatchNorm1d(n_channel)
        self.conv2 = nn.Conv1d(n_channel, 2 * n_channel, 3)
        self.bn2 = nn.BatchNorm1d(2 * n_channel)
        self.fc1 = nn.Linear(2 * n_channel, n_output)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(x))), 4)
        x = F.max_pool1d(F.relu(self.bn2(self.conv2(x))), 4)
        return F.log_softmax(self.fc1(x.mean(-1)), dim=1)


class Experiment:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = M5().to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.train_loader = DataLoader(SubsetSC("training"), 256, shuffle=True, collate_fn=collate_fn, drop_last=True)
        self.test_loader = DataLoader(SubsetSC("testing"), 256, collate_fn=collate_fn)
        self.step = 0

    def accuracy(self):
        self.model.eval()  # expect: NA402
        good = 0
        with torch.no_grad():
            for data, target in self.test_loader:
                good += (self.model(data.to(self.device)).argmax(-1).cpu() == target).sum().item()
        return good / len(self.test_loader.dataset)

    def train_epoch(self, epoch):
        self.model.train()
        for data, target in self.train_loader:
            loss = F.nll_loss(self.model(data.to(self.device)), target.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
            if self.step % self.args.eval_every == 0:
                print(f"epoch {epoch} step {self.step} loss {loss.item():.4f} acc {self.accuracy():.4f}")

    def run(self):
        for epoch in range(self.args.epochs):
            self.train_epoch(epoch)
        print("final", self.accuracy())


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--eval-every", type=int, default=100)
    Experiment(p.parse_args()).run()
