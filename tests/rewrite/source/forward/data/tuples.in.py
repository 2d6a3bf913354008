# fix: remove_layer net.1
# fix: remove_layer net.2
# fix: remove_layer net.6
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        layers.extend((nn.Conv2d(3, 4, 3), nn.ReLU()))
        layers.extend((nn.ReLU(), nn.BatchNorm2d(4)))
        layers.extend((nn.Conv2d(4, 4, 3), nn.ReLU(),
                       nn.ReLU(), nn.BatchNorm2d(4)))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)
