# fix: swap_layers features.relu features.norm
# fix: swap_layers features.relu2 features.norm2
from collections import OrderedDict

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(OrderedDict([
            ("conv", nn.Conv2d(3, 4, 3)),
            ("norm", nn.BatchNorm2d(4)),
            ("relu", nn.ReLU()),
        ]))
        self.features.add_module("conv2", nn.Conv2d(4, 4, 3))
        self.features.add_module("norm2", nn.BatchNorm2d(4))
        self.features.add_module("relu2", nn.ReLU())

    def forward(self, x):
        return self.features(x)
