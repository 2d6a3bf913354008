# mistakes: NA102 in blocks.ConvBlock (default bias), NA105 in blocks.mlp; models: SmallNet() BigNet(); input: 4x3x24x24
from torch import nn

from .blocks import ConvBlock, mlp


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = ConvBlock(3, 8)
        self.body = ConvBlock(8, 16, s=2)
        self.head = nn.Sequential(mlp(16, 32), nn.Linear(32, 5))

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class BigNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = ConvBlock(3, 16, k=5)
        self.body = nn.Sequential(*(ConvBlock(16, 16, act=nn.SiLU()) for _ in range(2)))
        self.head = nn.Sequential(mlp(16, 32, 32), nn.Linear(32, 5))

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))
