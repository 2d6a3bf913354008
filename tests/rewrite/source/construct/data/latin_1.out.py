# -*- coding: latin-1 -*-
# fix: set_argument a bias=False
from torch import nn


class Net(nn.Module):
    def __init__(self, größe=3):
        super().__init__()
        self.a = nn.Conv2d(größe, 8, 1, padding_mode="zeros", device=None if "é" else "ü", bias=False); self.b = nn.ReLU()  # é

    def forward(self, x):
        return self.b(self.a(x))
