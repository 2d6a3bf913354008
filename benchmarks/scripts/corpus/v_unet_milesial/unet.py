import torch
import torch.nn as nn


class DoubleConv(nn.Module):
    """(conv => BN => ReLU) * 2"""

    def __init__(self, cin, cout):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes):
        super().__init__()
        self.n_classes = n_classes
        self.inc = DoubleConv(n_channels, 64)
        self.down = nn.Sequential(nn.MaxPool2d(2), DoubleConv(64, 128))
        self.up = nn.ConvTranspose2d(128, 64, 2, 2)
        self.dec = DoubleConv(128, 64)
        self.outc = nn.Conv2d(64, n_classes, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.up(self.down(a))
        return self.outc(self.dec(torch.cat([a, b], dim=1)))
