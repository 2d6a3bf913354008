# fix: set_argument a|b|c bias=False
from dataclasses import dataclass

from torch import nn


@dataclass
class Config:
    bias: bool = True
    norm: bool = True


class Net(nn.Module):
    def __init__(self, config=None):
        super().__init__()
        config = config or Config()
        self.a = nn.Conv2d(3, 8, 1, bias=False)
        self.b = nn.Conv2d(8, 8, 1, bias=False)
        self.c = nn.Conv2d(8, 8, 1, bias=False)

    def forward(self, x):
        return self.c(self.b(self.a(x)))
