import argparse
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_curve
from torch.utils.data import DataLoader

from signatures import PairDataset, list_pairs


class SigNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Dropout2d(p=0.3),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d((6, 8)))
        self.fc = nn.Sequential(nn.Linear(256 * 48, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 128))

    def forward_once(self, x):
        return self.fc(self.features(x).flatten(1))

    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, o1, o2, label):
        d = F.pairwise_distance(o1, o2)
        return torch.mean((1 - label) * d.pow(2) + label * torch.clamp(self.margin - d, min=0.0).pow(2))


class Runner:
    def __init__(self, args):
        self.args = args
        self.device = torch.device(args.device)
        self.net = SigNet().to(self.device)
        self.criterion = ContrastiveLoss()
        self.opt = torch.optim.RMSprop(self.net.parameters(), lr=1e-4)

    def fit(self, train_loader, val_loader):
        best = 1.0
        for epoch in range(self.args.epochs):
            self.net.train()
            for a, b, y in train_loader:
                a, b, y = a.to(self.device), b.to(self.device), y.to(self.device)
                self.opt.zero_grad()
                loss = self.criterion(*self.net(a, b), y)
                loss.backward()
                self.opt.step()
            eer = self.verify(val_loader)
            print(f"[{epoch}] EER {eer:.4f}")
            if eer < best:
                best = eer
                torch.save(self.net.state_dict(), "signet.pth")

    @torch.no_grad()
    def verify(self, loader):
        distances, labels = [], []
        for a, b, y in loader:
            o1, o2 = self.net(a.to(self.device), b.to(self.device))  # expect: NA401
            distances.append(F.pairwise_distance(o1, o2).cpu().numpy())
            labels.append(y.numpy())
        fpr, tpr, _ = roc_curve(np.concatenate(labels), np.concatenate(distances))
        return fpr[np.nanargmin(np.abs(fpr - (1 - tpr)))]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=20)
    ap.add_argument("--device", default="cuda")
    args = ap.parse_args()
    pairs = list_pairs("cedar")
    random.Random(3).shuffle(pairs)
    cut = int(0.9 * len(pairs))
    Runner(args).fit(DataLoader(PairDataset(pairs[:cut]), 32, shuffle=True), DataLoader(PairDataset(pairs[cut:]), 64))


if __name__ == "__main__":
    main()
