# fix: set_argument norm num_features=8
# fix: set_argument last num_features=6
# input: 2x3x16x16
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        width = 8
        self.conv = nn.Conv2d(3, width, 3)
        width = width - 2
        self.norm = nn.BatchNorm2d(width)
        self.convs = nn.ModuleList(nn.Conv2d(inputs, size, 3) for inputs, size in ((8, 4), (4, 6)))
        self.last = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.norm(self.conv(x))
        for conv in self.convs:
            x = conv(x)
        return self.last(x)
