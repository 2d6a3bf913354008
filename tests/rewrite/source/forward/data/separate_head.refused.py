# fix: separate_layers head.norm
# input: 2x3x8x8
# refused: `Net.forward` runs `head` 2 times, at net.py:22 and net.py:23, and the call at net.py:14 runs `head.norm` each time
from torch import nn


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        # one norm for all resolutions
        return self.norm(x).relu()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3), Head()

    def forward(self, x):
        large = self.head(x)
        small = self.head(self.conv(x))
        return large[..., 1:-1, 1:-1] - small
