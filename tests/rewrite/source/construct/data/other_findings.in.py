# fix: set_argument a bias=False
# fix: set_argument c.conv1 bias=False
# allied: set_argument b|c.conv2 bias=False
from torch import nn


class Conv(nn.Conv2d):
    def __init__(self, i, o):
        super().__init__(i, o, kernel_size=1)


class Double(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Conv(3, 8)
        self.b = Conv(8, 8)
        self.c = Double(8, True)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
