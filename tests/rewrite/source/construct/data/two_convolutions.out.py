# fix: set_argument a.conv* bias=False
from torch import nn


class DoubleConv(nn.Module):
    def __init__(self, width, bias=True):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = DoubleConv(3, bias=False)
        self.b = DoubleConv(3)

    def forward(self, x):
        return self.b(self.a(x))
