# fix: set_argument a.conv1 bias=False
# refused: parameter_used.py:19 also builds `a.conv2`, whose `bias` has to stay, and nothing tells them apart there
from torch import nn


class Double(nn.Module):
    def __init__(self, width, bias=True):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Double(3)
        self.b = Double(3)

    def forward(self, x):
        return self.b(self.a(x))
