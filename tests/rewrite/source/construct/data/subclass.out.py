# fix: set_argument a|b|c bias=False
import torch.nn as nn


class MyConv(nn.Conv2d):
    def __init__(self, i, o, bias=True):
        super().__init__(i, o, 1, bias=bias)


class Narrow(MyConv):
    def __init__(self, width):
        MyConv.__init__(self, width, width, bias=False)


class Same(nn.Conv2d):
    pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = MyConv(3, 8, bias=False)
        self.b = Narrow(8)
        self.c = Same(8, 8, 1, bias=False)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
