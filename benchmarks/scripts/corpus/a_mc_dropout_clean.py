"""Predictive uncertainty with Monte Carlo dropout."""
import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class BayesMLP(nn.Module):
    def __init__(self, n=128, p=0.1):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(1, n), nn.Linear(n, n), nn.Linear(n, 1)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        x = self.drop(torch.tanh(self.l1(x)))
        x = self.drop(torch.tanh(self.l2(x)))
        return self.l3(x)


def mc_predict(model, x, T=100):
    """Mean and standard deviation of T stochastic passes."""
    model.train()
    with torch.no_grad():
        samples = torch.stack([model(x) for _ in range(T)])
    return samples.mean(0), samples.std(0)


def enable_dropout(model):
    for m in model.modules():
        if m.__class__.__name__.startswith('Dropout'):
            m.train()


def entropy_of(model, x, n_samples):
    model.eval()
    enable_dropout(model)
    probs = []
    with torch.no_grad():
        for _ in range(n_samples):
            probs.append(F.softmax(model(x), dim=-1))
    mean = torch.stack(probs).mean(0)
    return -(mean * mean.log()).sum(-1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=5000)
    args = ap.parse_args()
    x = torch.linspace(-2, 2, 200)[:, None]
    y = x ** 3 + torch.randn_like(x)
    model = BayesMLP()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(args.steps):
        loss = F.mse_loss(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    grid = torch.linspace(-4, 4, 400)[:, None]
    mean, std = mc_predict(model, grid)
    m, s = mean.squeeze().numpy(), std.squeeze().numpy()
    plt.fill_between(grid.squeeze().numpy(), m - 2 * s, m + 2 * s, alpha=.3)
    plt.savefig("mc.png")
    print(np.mean(s), entropy_of(model, grid, 20).mean())


if __name__ == "__main__":
    main()
