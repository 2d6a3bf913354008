# fix: separate_layers net.1
from torch import nn


def build(c):
    norm = nn.BatchNorm2d(c)
    layers = [nn.Conv2d(3, c, 3), norm]
    layers.append(nn.Conv2d(c, c, 3))
    layers.append(nn.BatchNorm2d(c))
    return nn.Sequential(*layers)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build(4)

    def forward(self, x):
        return self.net(x)
