# fix: swap_layers features.1 features.2
# fix: swap_layers head.0 head.1
from collections import OrderedDict

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(
                4,
                eps=1e-3,
            ),
            nn.ReLU(inplace=True),  # first
        )
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x):
        return self.head(self.features(x))
