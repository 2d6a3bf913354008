# fix: remove_layer one.act
# refused: the call at net.py:13 also runs `two.act`, to which the fix does not apply
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, 4, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Block(3)
        self.two = Block(4)

    def forward(self, x):
        return self.two(self.one(x))
