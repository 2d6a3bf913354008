# fix: set_argument a bias=False
# model: build
from torch import nn


class Net(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 1, bias=bias)

    def forward(self, x):
        return self.a(x)


def build(bias=True):
    return Net(bias)
