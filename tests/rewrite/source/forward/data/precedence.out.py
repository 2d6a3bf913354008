# fix: remove_layer a
# fix: remove_layer b
# fix: remove_layer c
# fix: remove_layer d
# fix: remove_layer :sigmoid
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = 2 * (self.conv(x) + 1)
        x = (x if self.training else x * 2).mean((2, 3))
        x = (x
            + 1)
        y = (-x).abs()
        return [x + y][0]
