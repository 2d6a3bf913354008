# fix: remove_layer body.1
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 4, 3)
        norm = nn.BatchNorm2d(4)
        self.body = nn.Sequential(conv, norm)

    def forward(self, x):
        return self.body(x)
