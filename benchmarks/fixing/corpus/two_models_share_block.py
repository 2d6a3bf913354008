# mistakes: NA102 in ConvUnit for models with norm (PlainNet uses it without); models: NormNet() PlainNet(); input: 4x3x16x16
import torch.nn as nn


class ConvUnit(nn.Module):
    def __init__(self, i, o, norm=True):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.norm = nn.BatchNorm2d(o) if norm else None
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.act(x)


class NormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.units = nn.Sequential(ConvUnit(3, 8), ConvUnit(8, 16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.units(x).mean((2, 3)))


class PlainNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.units = nn.Sequential(ConvUnit(3, 8, norm=False), ConvUnit(8, 16, norm=False))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.units(x).mean((2, 3)))
