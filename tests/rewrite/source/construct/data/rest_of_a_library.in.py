# fix: set_argument a|b.conv bias=False
from torch import nn


def create(i, o, size, **kwargs):
    padding = kwargs.pop("padding", 0)
    kwargs.setdefault("bias", True)
    if "groups" in kwargs and kwargs["groups"] < 0:
        return nn.ConvTranspose2d(i, o, size, **kwargs)
    return nn.Conv2d(i, o, size, padding=padding, **kwargs)


class Block(nn.Module):
    def __init__(self, width, device=None, dtype=None):
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.conv = create(width, width, 1, padding=0, **dd)

    def forward(self, x):
        return self.conv(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = create(3, 8, 3, padding=1)
        self.b = Block(8)
        self.c = create(8, 8, 3)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
