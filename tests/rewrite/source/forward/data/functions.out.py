# fix: remove_layer :relu
# fix: remove_layer :relu_
# fix: remove_layer :sigmoid
# fix: remove_layer :tanh
# fix: remove_layer :dropout
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x) + 1
        y = (y - 1) * 2
        z = y
        out = (z * 2 +
            y)
        return out
