import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from camvid import CamVid


class BayesianSegNet(nn.Module):
    """Dropout between the deepest blocks, active at test time to sample from the posterior; group norm everywhere."""

    def __init__(self, classes, ch=64):
        super().__init__()
        self.down = nn.ModuleList([self.block(3, ch), self.block(ch, ch * 2), self.block(ch * 2, ch * 4)])
        self.up = nn.ModuleList([self.block(ch * 4, ch * 2), self.block(ch * 2, ch)])
        self.drop = nn.Dropout(0.5)
        self.out = nn.Conv2d(ch, classes, 1)

    @staticmethod
    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(16, o), nn.ReLU())

    def forward(self, x):
        for d in self.down:
            x = F.max_pool2d(d(x), 2)
        x = self.drop(x)
        for u in self.up:
            x = self.drop(F.interpolate(u(x), scale_factor=2))
        return F.interpolate(self.out(x), scale_factor=2)


def posterior(net, x, n=40):
    """Mean prediction, aleatoric and epistemic uncertainty from n stochastic passes."""
    net.train()  # dropout must stay on
    with torch.no_grad():
        ps = torch.stack([net(x).softmax(1) for _ in range(n)])  # allow: NA401
    mean = ps.mean(0)
    total = -(mean * mean.clamp_min(1e-9).log()).sum(1)
    aleatoric = -(ps * ps.clamp_min(1e-9).log()).sum(2).mean(0)
    return mean, aleatoric, total - aleatoric


def main():
    net = BayesianSegNet(11).cuda()
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    train = DataLoader(CamVid("train"), 6, shuffle=True)
    test = DataLoader(CamVid("test"), 6)
    for epoch in range(200):
        net.train()
        for x, y in train:
            loss = F.cross_entropy(net(x.cuda()), y.cuda(), ignore_index=11)
            opt.zero_grad()
            loss.backward()
            opt.step()
    hits = n = 0
    spread = []
    for x, y in test:
        mean, _, epistemic = posterior(net, x.cuda())
        ok = y != 11
        hits += (mean.argmax(1).cpu() == y)[ok].sum().item()
        n += ok.sum().item()
        spread.append(epistemic.mean().item())
    print("pixel accuracy", hits / n, "epistemic", sum(spread) / len(spread))


if __name__ == "__main__":
    main()
