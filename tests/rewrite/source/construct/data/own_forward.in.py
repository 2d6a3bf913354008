# fix: set_argument stem|depthwise bias=False
# input: 2x3x9x9
import torch.nn.functional as F
from torch import nn


class SameConv2d(nn.Conv2d):
    """A convolution with a forward of its own."""

    def __init__(self, inputs, outputs, size, groups=1, bias=True):
        super().__init__(inputs, outputs, size, 1, 0, 1, groups, bias)

    def forward(self, x):
        x = F.pad(x, [1, 1, 1, 1])
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = SameConv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = SameConv2d(8, 8, 3, groups=8, bias=True)
        self.last_norm = nn.BatchNorm2d(8)
        self.head = SameConv2d(8, 4, 3)

    def forward(self, x):
        return self.head(self.last_norm(self.depthwise(self.norm(self.stem(x)))))
