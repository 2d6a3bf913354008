# fix: replace_layer bn torch.nn.GroupNorm num_groups=4 num_channels=8
# refused: `bn` is a `NormAct`, which does more than the `BatchNorm2d` it derives from
import torch
from torch import nn


class NormAct(nn.BatchNorm2d):
    def forward(self, x):
        return torch.relu(super().forward(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.bn = NormAct(8)

    def forward(self, x):
        return self.bn(self.conv(x))
