import math

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r=8, alpha=16):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = nn.Linear(base.in_features, r, bias=False), nn.Linear(r, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.B.weight)
        self.scale = alpha / r

    def forward(self, x):
        return self.base(x) + self.scale * self.B(self.A(x))


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.c2, self.b2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        nn.init.zeros_(self.b2.weight)

    def forward(self, x):
        return torch.relu(x + self.b2(self.c2(torch.relu(self.b1(self.c1(x))))))


def zero_module(module):
    """Zero out the parameters of a module and return it (last layer of a residual branch)."""
    for p in module.parameters():
        p.detach().zero_()
    return module


class UNetBlock(nn.Module):
    def __init__(self, c, emb):
        super().__init__()
        self.inp = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, c, 3, padding=1))
        self.emb = nn.Linear(emb, c)
        self.out = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Dropout(.1), zero_module(nn.Conv2d(c, c, 3, padding=1)))

    def forward(self, x, t):
        return x + self.out(self.inp(x) + self.emb(t)[..., None, None])


class Policy(nn.Module):
    def __init__(self, obs, act):
        super().__init__()
        self.pi = nn.Sequential(nn.Linear(obs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, act))
        for m in self.pi:
            if isinstance(m, nn.Linear):
                nn.init.orthogonal_(m.weight, 2 ** .5)
                nn.init.constant_(m.bias, 0)
        nn.init.constant_(self.pi[-1].weight, 0.)

    def forward(self, x):
        return self.pi(x)


def reset_head(model):
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    return model
