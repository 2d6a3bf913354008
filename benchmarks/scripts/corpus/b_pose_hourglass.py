"""Stacked hourglass for human pose; prints the PCK before training and after every epoch."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from mpii import Mpii, pck


class Residual(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, cout // 2, 1),
            nn.BatchNorm2d(cout // 2), nn.ReLU(), nn.Conv2d(cout // 2, cout, 3, padding=1))
        self.skip = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x):
        return self.body(x) + self.skip(x)


class Hourglass(nn.Module):
    def __init__(self, n, f):
        super().__init__()
        self.up1, self.low1 = Residual(f, f), Residual(f, f)
        self.low2 = Hourglass(n - 1, f) if n > 1 else Residual(f, f)
        self.low3 = Residual(f, f)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2)


class PoseNet(nn.Module):
    def __init__(self, stacks=2, f=128, joints=16):
        super().__init__()
        self.pre = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), Residual(64, f))
        self.hgs = nn.ModuleList([Hourglass(4, f) for _ in range(stacks)])
        self.outs = nn.ModuleList([nn.Conv2d(f, joints, 1) for _ in range(stacks)])
        self.merge = nn.ModuleList([nn.Conv2d(joints, f, 1) for _ in range(stacks)])

    def forward(self, x):
        x, maps = self.pre(x), []
        for hg, out, merge in zip(self.hgs, self.outs, self.merge):
            h = hg(x)
            maps.append(out(h))
            x = x + h + merge(maps[-1])
        return maps


def evaluate(net, loader, device):
    net.eval()  # expect: NA402
    score = n = 0
    with torch.no_grad():
        for img, heat, meta in loader:
            pred = net(img.to(device))[-1].cpu()
            score += pck(pred, meta)
            n += 1
    net.train
    return score / n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--batch', type=int, default=16)
    args = parser.parse_args()
    device = torch.device('cuda')
    train = DataLoader(Mpii('train'), args.batch, shuffle=True, num_workers=8, drop_last=True)
    val = DataLoader(Mpii('val'), args.batch, num_workers=8)
    net = nn.DataParallel(PoseNet()).to(device)
    opt = torch.optim.RMSprop(net.parameters(), 2.5e-4)
    print('before', evaluate(net, val, device))
    for epoch in range(args.epochs):
        for img, heat, _ in train:
            maps = net(img.to(device))
            loss = sum(F.mse_loss(m, heat.to(device)) for m in maps)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item(), evaluate(net, val, device))
        torch.save(net.module.state_dict(), 'pose.pth')


if __name__ == '__main__':
    main()
