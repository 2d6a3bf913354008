# fix: set_argument blocks.0.conv bias=False
from torch import nn


class Conv(nn.Module):
    def __init__(self, width, use_bias):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1, bias=use_bias)

    def forward(self, x):
        return self.conv(x)


class Linear(nn.Module):
    def __init__(self, width, use_bias):
        super().__init__()
        self.linear = nn.Linear(16, 16, bias=use_bias)

    def forward(self, x):
        return self.linear(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(block(3, True) for block in (Conv, Linear)))

    def forward(self, x):
        return self.blocks(x)
