# fix: swap_layers body.0.1 body.0.2
# fix: swap_layers body.1.1 body.1.2
# fix: swap_layers body.2.1 body.2.2
from torch import nn


def conv_block(cin, cout, norm=nn.BatchNorm2d):
    layers = [nn.Conv2d(cin, cout, 3)]
    layers += [nn.ReLU()]  # activation
    layers.append(norm(cout))
    return nn.Sequential(*layers)


def other_block(cin, cout):
    layers = []
    layers.append(nn.Conv2d(cin, cout, 3))
    layers.append(nn.ReLU())
    layers.append(nn.BatchNorm2d(cout))
    return nn.Sequential(*layers)


def last_block(cin, cout, act=True):
    layers = [nn.Conv2d(cin, cout, 3), nn.ReLU()]
    layers += [nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(other_block(3, 4), conv_block(4, 4), last_block(4, 4))

    def forward(self, x):
        return self.body(x)
