# mistakes: NA101 act before norm in the decoder's block (attributes), NA102 in the encoder's; models: SegUNet(); input: 2x3x32x32
import torch
import torch.nn as nn
import torch.nn.functional as F


class EncBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel_size=3,
                              padding=1)  # same
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class DecBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.up = nn.ConvTranspose2d(cin, cout, 2, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x, skip=None):
        x = self.up(x)
        x = self.relu(x)
        x = self.bn(x)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return x


class SegUNet(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.e1, self.e2, self.e3 = EncBlock(3, 8), EncBlock(8, 16), EncBlock(16, 32)
        self.d2 = DecBlock(32, 16)
        self.d1 = DecBlock(32, 8)
        self.final = nn.Conv2d(16, n, 1)

    def forward(self, x):
        s1 = self.e1(x)
        s2 = self.e2(F.max_pool2d(s1, 2))
        x = self.e3(F.max_pool2d(s2, 2))
        x = self.d2(x, s2)
        x = self.d1(x, s1)
        return self.final(x)
