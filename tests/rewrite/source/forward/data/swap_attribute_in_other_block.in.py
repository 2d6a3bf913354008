# fix: swap_layers stem.act norm
from torch import nn


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        out = self.conv(x)
        out = self.act(out)
        return out


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Stem()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.stem(x)
        x = self.norm(x)
        return x
