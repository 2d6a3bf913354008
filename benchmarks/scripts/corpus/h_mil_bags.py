"""Attention based multiple instance learning on whole slide images: one bag of patch features per step."""
import argparse

import h5py
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn


class Bags(torch.utils.data.Dataset):
    def __init__(self, path, split):
        self.f = h5py.File(path)[split]
        self.keys = list(self.f)

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, i):
        bag = self.f[self.keys[i]]
        return torch.from_numpy(bag["features"][:]), torch.tensor(float(bag.attrs["tumour"]))


class GatedABMIL(nn.Module):
    def __init__(self, d=1024, h=256):
        super().__init__()
        self.proj = nn.Sequential(nn.Linear(d, h), nn.ReLU())
        self.v, self.u, self.w = nn.Linear(h, 128), nn.Linear(h, 128), nn.Linear(128, 1)
        self.clf = nn.Sequential(nn.Linear(h, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, bag):                     # bag: (1, patches, d)
        h = self.proj(bag)
        a = self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))).softmax(1)
        return self.clf((a * h).sum(1)).view(-1), a


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("h5")
    ap.add_argument("--epochs", type=int, default=20)
    o = ap.parse_args()
    train = torch.utils.data.DataLoader(Bags(o.h5, "train"), batch_size=1, shuffle=True)
    valid = torch.utils.data.DataLoader(Bags(o.h5, "valid"), batch_size=1)
    net = GatedABMIL().cuda()
    opt = torch.optim.Adam(net.parameters(), lr=2e-4)
    bce = nn.BCEWithLogitsLoss()
    for epoch in range(o.epochs):
        net.train()
        for bag, y in train:
            logit, _ = net(bag.cuda())  # expect: NA202
            loss = bce(logit, y.cuda())
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        ps, ys = [], []
        with torch.no_grad():
            for bag, y in valid:
                ps.append(net(bag.cuda())[0].sigmoid().item())
                ys.append(y.item())
        print(epoch, roc_auc_score(np.array(ys), np.array(ps)))


if __name__ == "__main__":
    main()
