# mistakes: NA302 GroupNorm with one value per group in SE; models: SENet(); input: 4x3x16x16
from torch import nn


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduction=4):
        super().__init__()
        mid = channels // reduction
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, mid, 1)
        self.gn = nn.GroupNorm(mid, mid)
        self.fc2 = nn.Conv2d(mid, channels, 1)

    def forward(self, x):
        s = self.fc2(self.gn(self.fc1(self.pool(x))).relu()).sigmoid()
        return x * s


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.GroupNorm(8, 32), nn.ReLU())
        self.se1 = SqueezeExcite(32)
        self.mid = nn.Sequential(nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.GroupNorm(8, 64), nn.ReLU())
        self.se2 = SqueezeExcite(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.se1(self.stem(x))
        x = self.se2(self.mid(x))
        return self.head(x.mean((-2, -1)))
