# fix: set_argument a bias=False
# refused: `bias`, which decides the `bias`, is used at rebound.py:7 as well
from torch import nn


def conv(i, o, bias=True):
    bias = bias or i == 3
    return nn.Conv2d(i, o, 1, bias=bias)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 8)
        self.b = conv(8, 8)

    def forward(self, x):
        return self.b(self.a(x))
