"""Autoencoders, generators, discriminators, U-Nets, Siamese networks."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from benchmarks.probe.diagnosis.families.dense import he, initialize, stack
from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []


class _Images(nn.Module):
    """A network on flat pixels that takes and gives images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.flatten(1)).view(-1, 1, 8, 8)


@family("reconstruct", seeds=(0, 1, 2, 3), odd="a narrow middle")
def autoencoder(draw: random.Random) -> nn.Module:
    """Fully connected."""
    code = draw.choice((8, 16))
    return _Images(nn.Sequential(*initialize(stack([64, 96, 48, code, 48, 96, 64], nn.ReLU), he), nn.Tanh()))


@family("reconstruct", lr=3e-3, seeds=(0, 1))
def autoencoder_conv(draw: random.Random) -> nn.Module:
    """Convolutions and transposed convolutions."""
    width = draw.choice((16, 24))
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


class _Variational(nn.Module):
    """Noise in training; the mean at evaluation."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU())
        self.mean, self.log_var = nn.Linear(96, code), nn.Linear(96, code)
        self.decoder = nn.Sequential(nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, 64), nn.Tanh())
        nn.init.constant_(self.log_var.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(x)
        code = self.mean(hidden)
        if self.training:
            code = code + torch.randn_like(code) * (0.5 * self.log_var(hidden)).exp()
        return self.decoder(code).view_as(x)


@family("reconstruct", seeds=(0, 1), odd="noise inside, in training alone; log variances get gradients through the noise alone")
def autoencoder_variational(draw: random.Random) -> nn.Module:
    """Kingma and Welling, 2013; the reconstruction term."""
    return _Variational(draw.choice((8, 12)))


@family("generate", lr=2e-3, seeds=(0, 1, 2, 3), odd="a generator: ends in tanh, BatchNorm on noise")
def generator(draw: random.Random) -> nn.Module:
    """DCGAN's parts."""
    width = draw.choice((16, 24))
    model = nn.Sequential(
        nn.Unflatten(1, (16, 1, 1)),
        nn.ConvTranspose2d(16, 2 * width, 4, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    return initialize(model, lambda weight: nn.init.normal_(weight, std=0.02))


@family("discriminate", lr=2e-3, seeds=(0, 1, 2), odd="a discriminator: spectral norm, leaky rectifiers")
def discriminator(draw: random.Random) -> nn.Module:
    """Miyato et al., 2018."""
    width = draw.choice((16, 24))
    return nn.Sequential(
        spectral_norm(nn.Conv2d(1, width, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(2 * width, 2 * width, 3, padding=1)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        spectral_norm(nn.Linear(32 * width, 1)),
    )


@family("probability", lr=2e-3, seeds=(0, 1, 2), odd="a discriminator that ends in a sigmoid")
def discriminator_sigmoid(draw: random.Random) -> nn.Module:
    """DCGAN's discriminator with BatchNorm."""
    width = draw.choice((16, 24))
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(32 * width, 1),
        nn.Sigmoid(),
    )
    return initialize(model, lambda weight: nn.init.normal_(weight, std=0.02))


class _UNet(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()

        def double(before: int, after: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            )

        self.down1, self.down2, self.middle = double(1, width), double(width, 2 * width), double(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join2 = double(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join1 = double(2 * width, width)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        middle = self.middle(F.max_pool2d(second, 2))
        second = self.join2(torch.cat([second, self.up2(middle)], dim=1))
        return self.head(self.join1(torch.cat([first, self.up1(second)], dim=1)))


@family("segment", seeds=(0, 1, 2), odd="the deepest layers are not the last: gradients fall towards the middle")
def unet(draw: random.Random) -> nn.Module:
    """Ronneberger et al., 2015."""
    return _UNet(draw.choice((6, 8)))


class _Siamese(nn.Module):
    """One network for both inputs, and a learnt reading of their distance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * width, 32),
        )
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        distance = F.mse_loss(self.tower(first), self.tower(second), reduction="none").mean(dim=1)
        return self.shift - self.scale * distance


@family("same", lr=2e-3, seeds=(0, 1, 2), odd="one network runs twice in each pass")
def siamese(draw: random.Random) -> nn.Module:
    """Bromley et al., 1993."""
    return initialize(_Siamese(draw.choice((12, 16))), he)
