# fix: swap_layers act norm
# refused: the call at net.py:15 does not always run
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.PReLU()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        x = self.act(x) if self.act is not None else x
        return self.norm(x)
