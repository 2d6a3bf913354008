# fix: swap_layers one.0.1 one.0.2
# fix: swap_layers two.0.1 two.0.2
from torch import nn


def conv_norm_act(cin, cout, act=True):
    layers = [nn.Conv2d(cin, cout, 3)]
    if act:
        options = {"inplace": True}
        layers.append(nn.ReLU(**options))
    if cout > 1:
        layers.append(nn.BatchNorm2d(cout))
    return nn.Sequential(*layers)


def ghost(cin, cout, act=True):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 1),
        nn.ReLU(inplace=True) if act else nn.Sequential(),  # not at the end
        nn.BatchNorm2d(cout),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(conv_norm_act(3, 4), conv_norm_act(4, 4, act=False))
        self.two = nn.Sequential(ghost(4, 4), ghost(4, 4, act=False))

    def forward(self, x):
        return self.two(self.one(x))
