# starts with a byte order mark
# fix: remove_layer :relu_
# fix: remove_layer act
# fix: remove_layer :tanh
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        if (y := x) is not None:
            x = y
        return x + y
