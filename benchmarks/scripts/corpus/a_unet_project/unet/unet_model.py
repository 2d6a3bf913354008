""" Full assembly of the parts to form the complete network """

from torch import nn

from .unet_parts import DoubleConv, Up


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes):
        super(UNet, self).__init__()
        self.n_channels = n_channels
        self.n_classes = n_classes
        self.inc = DoubleConv(n_channels, 64)
        self.pool = nn.MaxPool2d(2)
        self.down1, self.down2 = DoubleConv(64, 128), DoubleConv(128, 256)
        self.up1, self.up2 = Up(256, 128), Up(128, 64)
        self.outc = nn.Conv2d(64, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(self.pool(x1))
        x3 = self.down2(self.pool(x2))
        return self.outc(self.up2(self.up1(x3, x2), x1))
