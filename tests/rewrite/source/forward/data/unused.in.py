# fix: remove_layer norm2
# fix: remove_layer blocks.*.dropout
from torch import nn


class Block(nn.Module):
    def __init__(self, p=0.1):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.dropout = nn.Dropout(p) if p > 0 else nn.Identity()

    def forward(self, x):
        return self.conv(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm1 = nn.BatchNorm2d(3)
        self.norm2 = nn.BatchNorm2d(
            3
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm1(x)
