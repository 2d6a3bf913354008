# fix: remove_layer net.2
# safe
# refused: `act` at net.py:13 may build another layer, which does not compute the same
from torch import nn


class Net(nn.Module):
    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            act(),
            act(),
        )

    def forward(self, x):
        return self.net(x)
