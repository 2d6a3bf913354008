import torch
from torch import nn


class NCF(nn.Module):
    def __init__(self, n_users, n_items, dim=32, layers=(64, 32, 16), dropout=0.0, **_):
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, dim), nn.Embedding(n_items, dim)
        mods, prev = [], 2 * dim
        for h in layers:
            mods += [nn.Dropout(dropout), nn.Linear(prev, h), nn.ReLU()]
            prev = h
        self.mlp = nn.Sequential(*mods)
        self.out = nn.Linear(prev, 1)

    def forward(self, u, i):
        return self.out(self.mlp(torch.cat([self.user(u), self.item(i)], -1))).squeeze(-1)
