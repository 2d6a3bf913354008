# mistakes: none; models: GIN(); input: 4x10x8 4x10x10
import torch
from torch import nn


class GINLayer(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(nn.Linear(d_in, d_out), nn.ReLU(), nn.Linear(d_out, d_out))
        self.norm = nn.LayerNorm(d_out)

    def forward(self, h, adj):
        h = (1 + self.eps) * h + adj @ h
        return self.norm(self.mlp(h)).relu()


class GIN(nn.Module):
    def __init__(self, d_in=8, d=16, classes=3):
        super().__init__()
        self.l1 = GINLayer(d_in, d)
        self.l2 = GINLayer(d, d)
        self.readout = nn.Linear(d, classes)

    def forward(self, h, adj):
        return self.readout(self.l2(self.l1(h, adj), adj).sum(1))
