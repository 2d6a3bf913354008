# fix: replace_layer bn|norm torch.nn.GroupNorm num_groups=4 num_channels=module.num_features
import torch
import torch.nn as nn

NORMS = {"batch": nn.BatchNorm2d}


class Net(torch.nn.Module):
    def __init__(self, width=8, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        self.conv = torch.nn.Conv2d(3, width, 3)
        self.bn = nn.GroupNorm(4, width)
        self.norm = nn.GroupNorm(4, width * 1)

    def forward(self, x):
        return self.norm(self.bn(self.conv(x)))
