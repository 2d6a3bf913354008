# fix: set_argument conv bias=False
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, use_bn=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias = True , padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=use_bn, padding=1)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv2(self.conv(x)))
