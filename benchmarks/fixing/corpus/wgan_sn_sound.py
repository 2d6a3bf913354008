# mistakes: none; models: Critic(); input: 4x3x32x32
import torch.nn as nn
from torch.nn.utils import spectral_norm as SN


class Critic(nn.Module):
    def __init__(self, ndf=8):
        super().__init__()
        layers, c = [], 3
        for m in (1, 2, 4):
            layers += [SN(nn.Conv2d(c, ndf * m, 4, 2, 1)), nn.LeakyReLU(.2)]
            c = ndf * m
        self.main = nn.Sequential(*layers, nn.Conv2d(c, 1, 4))

    def forward(self, x):
        return self.main(x).flatten()
