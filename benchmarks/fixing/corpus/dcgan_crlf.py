# mistakes: NA102 in generator blocks and in the discriminator; models: Generator() Discriminator(); input: 4x16
import torch
import torch.nn as nn

nz = 16; ngf = 8; nc = 3

class Generator(nn.Module):
    def __init__(self):
        super(Generator, self).__init__()
        def block(in_feat, out_feat, k=4, s=2, p=1):
            return [nn.ConvTranspose2d(in_feat, out_feat, k, s, p), nn.BatchNorm2d(out_feat), nn.ReLU(True)]
        self.main = nn.Sequential(
            *block(nz, ngf * 4, 4, 1, 0),
            *block(ngf * 4, ngf * 2),
            *block(ngf * 2, ngf),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1),
            nn.Tanh()
        )

    def forward(self, z):
        z = z.view(z.size(0), nz, 1, 1)
        return self.main(z)

class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nz, ngf, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ngf, ngf * 2, 1), nn.BatchNorm2d(ngf * 2), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ngf * 2, 1, 1)
        )

    def forward(self, x):
        return self.main(x.reshape(-1, nz, 1, 1).expand(-1, -1, 4, 4)).mean((1, 2, 3))
