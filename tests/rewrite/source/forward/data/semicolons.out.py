# fix: remove_layer a
# fix: remove_layer b
# fix: remove_layer c
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        x = x + 1
        return x
