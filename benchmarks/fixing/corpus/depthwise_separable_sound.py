# mistakes: none; models: KWS(); input: 4x1x40x32
from torch import nn


def sep(i, o, s=1):
    return nn.Sequential(
        nn.Conv2d(i, i, 3, s, 1, groups=i, bias=False), nn.Conv2d(i, o, 1, bias=False),
        nn.BatchNorm2d(o), nn.Hardswish(),
    )


class KWS(nn.Module):
    def __init__(self, n=12):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(1, 16, (10, 4), (2, 2), (5, 1), bias=False), nn.BatchNorm2d(16), nn.Hardswish(), sep(16, 32, 2), sep(32, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(32, n)

    def forward(self, x):
        return self.fc(self.f(x))
