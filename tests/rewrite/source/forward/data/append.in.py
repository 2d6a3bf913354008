# fix: remove_layer features.2
# fix: remove_layer features.6
from torch import nn


def make_layers(widths, dropout, norm_layer=nn.BatchNorm2d):
    layers = []
    channels = 3
    for width in widths:
        layers += [nn.Conv2d(channels, width, 1), nn.ReLU()]
        if dropout > 0:
            # regularise
            layers.append(nn.Dropout(dropout))
        if norm_layer is not None:
            layers += [norm_layer(width)]
        channels = width
    return nn.Sequential(*layers)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = make_layers([4, 8], 0.1)

    def forward(self, x):
        return self.features(x)
