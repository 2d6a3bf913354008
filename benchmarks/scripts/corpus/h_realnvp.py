"""RealNVP with batch norm between the couplings; density of two moons."""
import argparse

import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets as skd
import torch
import torch.nn as nn


class Coupling(nn.Module):
    def __init__(self, d, hid, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        mk = lambda act: nn.Sequential(nn.Linear(d, hid), act(), nn.Linear(hid, hid), act(), nn.Linear(hid, d))
        self.s, self.t = mk(nn.Tanh), mk(nn.ReLU)

    def forward(self, x):
        m = x * self.mask
        s, t = self.s(m) * (1 - self.mask), self.t(m) * (1 - self.mask)
        return m + (1 - self.mask) * (x - t) * torch.exp(-s), -s.sum(-1)

    def inverse(self, u):
        m = u * self.mask
        s, t = self.s(m) * (1 - self.mask), self.t(m) * (1 - self.mask)
        return m + (1 - self.mask) * (u * s.exp() + t)


class FlowBatchNorm(nn.BatchNorm1d):
    """y = (x - mean) / std with the log determinant; batch statistics only while training"""

    def __init__(self, d):
        super().__init__(d, affine=False)

    def forward(self, x):
        if self.training:
            var = x.var(0, unbiased=False)
        else:
            var = self.running_var
        return super().forward(x), (-0.5 * torch.log(var + self.eps)).sum().expand(len(x))

    def inverse(self, u):
        return u * (self.running_var + self.eps).sqrt() + self.running_mean


class RealNVP(nn.Module):
    def __init__(self, d=2, n=6, hid=128):
        super().__init__()
        masks = [torch.arange(d) % 2 == i % 2 for i in range(n)]
        self.layers = nn.ModuleList()
        for m in masks:
            self.layers += [Coupling(d, hid, m.float()), FlowBatchNorm(d)]
        self.prior = torch.distributions.MultivariateNormal(torch.zeros(d), torch.eye(d))

    def log_prob(self, x):
        total = 0
        for l in self.layers:
            x, ld = l(x)
            total = total + ld
        return self.prior.log_prob(x) + total

    @torch.no_grad()
    def sample(self, n):
        x = self.prior.sample((n,))
        for l in reversed(self.layers):
            x = l.inverse(x)
        return x


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--iters", type=int, default=5000)
    p.add_argument("--bs", type=int, default=512)
    a = p.parse_args()
    flow = RealNVP()
    opt = torch.optim.Adam(flow.parameters(), 1e-3)
    test = torch.tensor(skd.make_moons(5000, noise=.05)[0], dtype=torch.float32)
    for i in range(a.iters):
        flow.train()
        x = torch.tensor(skd.make_moons(a.bs, noise=.05)[0], dtype=torch.float32)
        loss = -flow.log_prob(x).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if i % 500 == 0:
            flow.eval()
            with torch.no_grad():
                print(i, loss.item(), "test nll", -flow.log_prob(test).mean().item())
            s = flow.sample(2000)
            plt.clf()
            plt.scatter(*np.array(s).T, s=2)
            plt.savefig(f"moons_{i:05d}.png")


if __name__ == "__main__":
    main()
