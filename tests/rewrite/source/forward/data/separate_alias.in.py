# fix: separate_layers norm1
from torch import nn


class Net(nn.Module):
    def __init__(self, c=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, c, 3)
        self.conv2 = nn.Conv2d(c, c, 3)
        norm = nn.BatchNorm2d(c)
        self.norm1 = norm
        self.norm2 = norm

    def forward(self, x):
        x = self.norm1(self.conv1(x))
        return self.norm2(self.conv2(x))
