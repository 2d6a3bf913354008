# fix: remove_layer *.act2
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, act_layer=nn.ReLU):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = act_layer()

    def forward(self, x):
        shortcut = x
        x = self.act(self.norm(self.conv(x)))

        return shortcut + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(*[Block(4) for _ in range(3)])

    def forward(self, x):
        return self.blocks(self.stem(x))
