# fix: remove_layer features.2
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            # the norm comes last
            nn.BatchNorm2d(4),
        )

    def forward(self, x):
        return self.features(x)
