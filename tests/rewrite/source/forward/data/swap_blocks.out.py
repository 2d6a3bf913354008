# fix: swap_layers *.act *.norm
from torch import nn


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3)
        self.norm = nn.BatchNorm2d(cout)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(2, 1)

    def forward(self, x):
        out = self.conv(x)
        out = self.norm(out)
        out = self.pool(out)
        out = self.act(out)
        return out


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Block(3, 4)
        self.two = Block(4, 4)

    def forward(self, x):
        return self.two(self.one(x))
