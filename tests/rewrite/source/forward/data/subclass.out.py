# fix: remove_layer *.2
from torch import nn


class ConvAct(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(
            nn.Conv2d(cin, cout, 3),
            nn.ReLU(inplace=True),
        )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = ConvAct(3, 4)
        self.two = ConvAct(4, 4)

    def forward(self, x):
        return self.two(self.one(x))
