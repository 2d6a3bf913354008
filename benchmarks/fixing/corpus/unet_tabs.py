# mistakes: NA101 in DoubleConv, NA102 none before the swap; models: UNet(); input: 2x1x32x32
import torch
from torch import nn
import torch.nn.functional as F


class DoubleConv(nn.Module):
	"""(conv => ReLU => BN) * 2"""

	def __init__(self, in_ch, out_ch):
		super(DoubleConv, self).__init__()
		self.conv = nn.Sequential(
			nn.Conv2d(in_ch, out_ch, 3, padding=1),
			nn.ReLU(inplace=True),	# non linearity
			nn.BatchNorm2d(out_ch),	# normalise
			nn.Conv2d(out_ch, out_ch, 3, padding=1, bias=False),
			nn.BatchNorm2d(out_ch),
			nn.ReLU(inplace=True),
		)

	def forward(self, x):
		return self.conv(x)


class Up(nn.Module):
	def __init__(self, in_ch, out_ch):
		super(Up, self).__init__()
		self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
		self.conv = DoubleConv(in_ch, out_ch)

	def forward(self, x1, x2):
		x1 = self.up(x1)
		return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
	def __init__(self, n_channels=1, n_classes=1):
		super(UNet, self).__init__()
		self.inc = DoubleConv(n_channels, 8)
		self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
		self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 16))
		self.up1 = Up(32, 8)
		self.up2 = Up(16, 8)
		self.outc = nn.Conv2d(8, n_classes, 1)

	def forward(self, x):
		x1 = self.inc(x)
		x2 = self.down1(x1)
		x3 = self.down2(x2)
		x = self.up1(x3, x2)
		x = self.up2(x, x1)
		return self.outc(x)
