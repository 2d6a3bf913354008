# mistakes: none; models: ConvAE(); input: 4x3x32x32
import torch.nn as nn


class ConvAE(nn.Module):
    def __init__(self):
        super().__init__()
        def enc(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))
        def dec(i, o): return nn.Sequential(nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.encoder = nn.Sequential(enc(3, 8), enc(8, 16), nn.Conv2d(16, 8, 1))
        self.decoder = nn.Sequential(dec(8, 16), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid())
    def forward(self, x): return self.decoder(self.encoder(x))
