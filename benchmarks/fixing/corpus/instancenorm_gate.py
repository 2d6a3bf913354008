# mistakes: NA304 InstanceNorm2d behind global pooling (a 1x1 map) in ChannelGate; models: GateNet(); input: 2x3x16x16
import torch.nn as nn


class ChannelGate(nn.Module):
    def __init__(self, c: int, r: int = 4):
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d((1, 1))
        self.excite = nn.Sequential(
            nn.Conv2d(c, c // r, 1, bias=False),
            nn.InstanceNorm2d(c // r, affine=True),
            nn.ReLU(),
            nn.Conv2d(c // r, c, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.excite(self.squeeze(x))


class GateNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.gate = ChannelGate(16)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        return self.head(self.gate(self.stem(x).relu()))
