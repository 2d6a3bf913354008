# fix: remove_layer net.1
# fix: remove_layer net.3
# fix: swap_layers net.5 net.6
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        layers.extend([nn.Conv2d(3, 4, 3), nn.ReLU()])
        layers += [
            nn.ReLU(),
        ]
        layers.extend((nn.ReLU(),))
        layers = layers + [nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)
