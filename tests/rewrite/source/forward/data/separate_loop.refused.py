# fix: separate_layers norm
# refused: the call at net.py:14 runs `norm` 3 times in a loop: it takes an `nn.ModuleList` with one layer for each turn
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(3)])
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        for conv in self.convs:
            x = self.norm(conv(x))
        return x
