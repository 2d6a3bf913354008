# fix: separate_layers bn
# fix: separate_layers a.1
from torch import nn


class Net(nn.Module):
    def __init__(self, c=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, c, 3)
        self.conv2 = nn.Conv2d(c, c, 3)
        self.bn = nn.BatchNorm2d(c, eps=1e-3)  # of both
        self.bn_2 = nn.BatchNorm2d(c, eps=1e-3)
        norm = nn.BatchNorm2d(c)
        self.a = nn.Sequential(nn.Conv2d(c, c, 1), norm)
        self.b = nn.Sequential(nn.Conv2d(c, c, 1), nn.BatchNorm2d(c))

    def forward(self, x):
        x = self.bn(self.conv1(x))
        x = self.bn_2(self.conv2(x))
        return self.b(self.a(x))
