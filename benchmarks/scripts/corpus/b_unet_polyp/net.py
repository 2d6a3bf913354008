import torch
import torch.nn as nn


def block(cin, cout):
    return nn.Sequential(
        nn.Conv3d(cin, cout, 3, padding=1, bias=False),
        nn.BatchNorm3d(cout),
        nn.PReLU(),
    )


class VNetSmall(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.e1, self.e2 = block(1, 16), block(16, 32)
        self.pool = nn.MaxPool3d(2)
        self.up = nn.Upsample(scale_factor=2, mode="trilinear")
        self.d1 = block(48, 16)
        self.out = nn.Conv3d(16, classes, 1)

    def forward(self, x):
        a = self.e1(x)
        b = self.up(self.e2(self.pool(a)))
        return self.out(self.d1(torch.cat([a, b], 1)))
