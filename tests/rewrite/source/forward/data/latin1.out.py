# -*- coding: latin-1 -*-
# fix: remove_layer act2
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()


class Net(Base):
    def forward(self, x):
        x = self.conv(x)
        return self.act(x if "éè" else x)  # übrig


class Other(Base):
    def forward(self, x):
        return self.act(self.conv(x))
