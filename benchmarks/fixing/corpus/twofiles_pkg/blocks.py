"""Shared blocks."""
from torch import nn


class ConvBlock(nn.Module):
    def __init__(self, c_in, c_out, k=3, s=1, bias=True, act=None):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, s, k // 2, bias=bias)
        self.bn = nn.BatchNorm2d(c_out)
        self.act = act if act is not None else nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


def mlp(*sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers.append(nn.Linear(a, b))
        layers.append(nn.ReLU())
    layers.append(nn.ReLU())
    return nn.Sequential(*layers)
