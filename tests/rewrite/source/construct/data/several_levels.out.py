# fix: set_argument first.*.conv bias=False
import torch.nn as nn


def conv(i, o, bias):
    return nn.Conv2d(i, o, 1, bias=bias)


class Block(nn.Module):
    def __init__(self, width, with_bias=True):
        super().__init__()
        self.conv = conv(width, width, with_bias)

    def forward(self, x):
        return self.conv(x)


def stage(depth, width, use_bias=True):
    return nn.Sequential(*[Block(width, with_bias=use_bias) for _ in range(depth)])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = stage(2, 3, use_bias=False)
        self.second = stage(2, 3)

    def forward(self, x):
        return self.second(self.first(x))
