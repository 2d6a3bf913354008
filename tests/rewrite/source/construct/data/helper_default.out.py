# fix: set_argument a.0|b.0 bias=False
import torch.nn as nn


def conv(i, o, *, bias: bool = False, stride=1):
    """A convolution and its norm."""
    return nn.Sequential(nn.Conv2d(i, o, 1, bias=bias, stride=stride), nn.BatchNorm2d(o))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 8)
        self.b = conv(8, 8, stride=2)
        self.c = conv(8, 8, bias=True)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
