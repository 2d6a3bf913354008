# fix: remove_layer :relu
# refused: the call at net.py:13 also runs relu in `two`, to which the fix does not apply
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, 4, 3)

    def forward(self, x):
        return F.relu(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Block(3)
        self.two = Block(4)

    def forward(self, x):
        return self.two(self.one(x))
