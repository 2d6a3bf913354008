# fix: set_argument features.*.0|last.conv|either.conv bias=False
from functools import partial

from torch import nn


class Block(nn.Sequential):
    def __init__(self, inputs, outputs, norm_layer=nn.BatchNorm2d, act=nn.ReLU, bias=True):
        layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias and norm_layer is None)]
        if norm_layer is not None:
            layers.append(norm_layer(outputs))
        if act is not None:
            layers.append(act(inplace=True))
        super().__init__(*layers)


class Last(nn.Module):
    def __init__(self, width, norm="batch"):
        super().__init__()
        use_bias = False
        self.conv = nn.Conv2d(width, width, 1, bias=use_bias)
        self.norm = nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()

    def forward(self, x):
        return self.norm(self.conv(x))


class Either(nn.Module):
    def __init__(self, width, norm=None, kind="", bias=True):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1, bias=bias and (norm is None or kind == "none"))
        if not (norm is None or kind == "none"):
            self.norm = norm(width)
        else:
            self.norm = nn.Identity()

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(nn.Module):
    def __init__(self, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or partial(nn.BatchNorm2d, eps=1e-3)
        self.features = nn.Sequential(*[Block(width, width + 1, norm_layer) for width in (3, 4)], Block(5, 6, norm_layer, act=None))
        self.last = Last(6)
        self.either = Either(6, norm_layer)

    def forward(self, x):
        return self.either(self.last(self.features(x)))
