# fix: remove_layer act2
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.act2 = nn.ReLU()

    def forward(self, x):
        x = self.act(self.conv(x))
        return x


class Heir(Net):
    def forward(self, x):
        return self.act2(self.conv(x))
