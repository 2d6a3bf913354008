# fix: set_argument a|b|c bias=False
from functools import partial

from torch import nn

conv1x1 = partial(nn.Conv2d, kernel_size=1, bias=True)


class Net(nn.Module):
    def __init__(self, layer=nn.Conv2d):
        super().__init__()
        self.a = conv1x1(3, 8, bias=False)
        self.b = layer(8, 8, 1, bias=False)
        make = nn.Conv2d
        self.c = make(8, 8, kernel_size=1, bias=False)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
