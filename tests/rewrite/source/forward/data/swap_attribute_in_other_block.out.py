# fix: swap_layers stem.act norm
from torch import nn


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        out = self.conv(x)
        return out


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Stem()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.stem(x)
        x = nn.functional.leaky_relu(self.norm(x), negative_slope=0.1)
        return x
