"""Deep ensembles with calibrated variances on the UCI energy data."""
import numpy as np
import torch
from torch import nn


class Gaussian(nn.Module):
    def __init__(self, d, h=50):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(d, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, h), nn.ReLU())
        self.mu, self.rho = nn.Linear(h, 1), nn.Linear(h, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mu(h), nn.functional.softplus(self.rho(h)) + 1e-6


class Ensemble:
    def __init__(self, m, d):
        self.members = [Gaussian(d) for _ in range(m)]

    def fit(self, x, y, epochs=100, bs=64):
        for k, net in enumerate(self.members):
            opt = torch.optim.Adam(net.parameters(), 1e-2)
            for _ in range(epochs):
                perm = torch.randperm(len(x))
                for i in range(0, len(x) - bs + 1, bs):
                    b = perm[i:i + bs]
                    mu, var = net(x[b])
                    loss = nn.functional.gaussian_nll_loss(mu, y[b], var)
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
            print("member", k, loss.item())

    def predict(self, x):
        mus, vs = [], []
        with torch.no_grad():
            for net in self.members:
                mu, var = net(x)  # expect: NA401
                mus.append(mu)
                vs.append(var)
        mus, vs = torch.stack(mus), torch.stack(vs)
        mean = mus.mean(0)
        return mean, (vs + mus ** 2).mean(0) - mean ** 2


def main(seed=0):
    torch.manual_seed(seed)
    raw = np.loadtxt("energy.txt").astype(np.float32)
    rng = np.random.default_rng(seed)
    rng.shuffle(raw)
    x, y = torch.from_numpy(raw[:, :-2]), torch.from_numpy(raw[:, -2:-1])
    n = int(.9 * len(x))
    x = (x - x[:n].mean(0)) / x[:n].std(0).clamp(min=1e-6)
    ens = Ensemble(5, x.shape[1])
    ens.fit(x[:n], y[:n])
    mean, var = ens.predict(x[n:])
    rmse = (mean - y[n:]).pow(2).mean().sqrt()
    nll = nn.functional.gaussian_nll_loss(mean, y[n:], var, full=True)
    print(f"rmse {rmse:.3f} nll {nll:.3f}")


if __name__ == "__main__":
    for s in range(20):
        main(s)
