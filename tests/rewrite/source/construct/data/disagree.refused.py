# fix: set_argument a.0 bias=False
# refused: disagree.py:7 also builds `b.0`, whose `bias` has to stay, and nothing tells them apart there
from torch import nn


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 1), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = block(3, 8)
        self.b = block(8, 8)

    def forward(self, x):
        return self.b(self.a(x))
