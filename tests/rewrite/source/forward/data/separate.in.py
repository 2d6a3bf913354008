# fix: separate_layers bn
# fix: separate_layers a.1
from torch import nn


class Net(nn.Module):
    def __init__(self, c=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, c, 3)
        self.conv2 = nn.Conv2d(c, c, 3)
        self.bn = nn.BatchNorm2d(c, eps=1e-3)  # of both
        norm = nn.BatchNorm2d(c)
        self.a = nn.Sequential(nn.Conv2d(c, c, 1), norm)
        self.b = nn.Sequential(nn.Conv2d(c, c, 1), norm)

    def forward(self, x):
        x = self.bn(self.conv1(x))
        x = self.bn(self.conv2(x))
        return self.b(self.a(x))
