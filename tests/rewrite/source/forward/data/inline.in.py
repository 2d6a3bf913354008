# fix: remove_layer features.1
# fix: remove_layer features.2
# fix: remove_layer head.2
# fix: remove_layer tail.0
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ReLU(), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(4, 4, 3),
                                  nn.BatchNorm2d(4), nn.BatchNorm2d(4))
        self.tail = nn.Sequential(nn.ReLU(), nn.Dropout())

    def forward(self, x):
        return self.tail(self.head(self.features(x)))
