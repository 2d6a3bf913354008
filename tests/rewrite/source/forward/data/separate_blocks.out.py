# fix: separate_layers *.bn
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        self.bn_2 = None
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.bn = norm_layer(channels)
        self.bn_3 = norm_layer(channels)
        self.bn_4 = norm_layer(channels)

    def forward(self, x):
        x = self.bn(self.conv1(x))
        x = self.bn_3(
            self.conv2(x)
        )
        return self.bn_4(self.conv3(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Block(3)
        self.two = Block(3)

    def forward(self, x):
        return self.two(self.one(x))
