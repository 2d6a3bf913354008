# fix: set_argument a.0|a.3|first.conv|last.conv bias=False
from torch import nn


def make_layers(sizes, batch_norm=True):
    layers = []
    width = 3
    for size in sizes:
        conv2d = nn.Conv2d(width, size, kernel_size=3, padding=1)
        if batch_norm:
            layers += [conv2d, nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
        else:
            layers += [conv2d, nn.ReLU(inplace=True)]
        width = size
    return nn.Sequential(*layers)


class Block(nn.Module):
    def __init__(self, width, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1, bias=True)
        self.norm = norm(width) if norm is not None else nn.Identity()

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = make_layers([4, 8])
        self.b = nn.Identity()
        self.first = Block(3)
        self.middle = Block(8, None)
        self.last = Block(8)

    def forward(self, x):
        return self.last(self.middle(self.b(self.a(self.first(x)))))
