# fix: separate_layers norm
# refused: the call at net.py:14 runs `norm` several times
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
