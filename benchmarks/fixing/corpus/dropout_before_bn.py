# mistakes: NA103 dropout before bn in ConvBlock (method style), NA102 in the conv; models: DropNet(); input: 4x1x28x28
import torch.nn as nn
import torch.nn.functional as F


class ConvBlock(nn.Module):
    def __init__(self, ni, nf, p=.1):
        super().__init__()
        self.conv = nn.Conv2d(ni, nf, 3, padding=1)
        self.drop = nn.Dropout2d(p)
        self.bn   = nn.BatchNorm2d(nf)

    def forward(self, x):
        x = self.conv(x)
        x = self.drop(x)
        x = self.bn(x)
        return F.relu(x)


class DropNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = ConvBlock(1, 8)
        self.c2 = ConvBlock(8, 16)
        self.fc = nn.Linear(16 * 7 * 7, 10)

    def forward(self, x):
        x = F.max_pool2d(self.c1(x), 2)
        x = F.max_pool2d(self.c2(x), 2)
        return self.fc(x.flatten(1))
