# fix: set_argument a|b bias=False
from torch import nn


def conv(*args, **kwargs):
    return nn.Conv2d(*args, bias=False, **kwargs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 8, 1, stride=2)
        options = dict(stride=1, padding=0)
        self.b = nn.Conv2d(8, 8, 1, bias=False, **options)

    def forward(self, x):
        return self.b(self.a(x))
