# fix: remove_layer first.act@1
# refused: the call at net.py:13 also runs `second.act`, to which the fix does not apply
from torch import nn


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.ReLU() if act else nn.Tanh()

    def forward(self, x):
        return self.act(self.act(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Block(act=True)
        self.second = Block(act=False)

    def forward(self, x):
        return self.second(self.first(x))
