# fix: set_argument a|c bias=False
import torch.nn as nn


def conv(i, o, bias=True):
    return nn.Conv2d(i, o, 1, bias=bias)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 8)
        self.b = conv(8, 8)
        self.c = conv(8, 8, True)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
