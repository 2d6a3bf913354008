# fix: set_argument a|b|d bias=False
from torch import nn


def conv(i, *args, **kwargs):
    return nn.Conv2d(i, *args, **kwargs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 8, 1, bias=True)
        self.b = conv(8, 8, 1, 1, 0, 1, 1, True)
        self.c = conv(8, 8, 1)
        self.d = conv(8, 8, 1)

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x))))
