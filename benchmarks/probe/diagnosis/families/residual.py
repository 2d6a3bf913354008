"""Networks with shortcuts."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []


class _Block(nn.Module):
    """Post-activation block of He et al., 2016."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, *, zero: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.relu = nn.ReLU()
        if zero:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x))))))


def _net(blocks: list[nn.Module], channels: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    stem = [nn.Conv2d(1, channels, 3, padding=1, stride=2, bias=False), norm(channels), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


@family("digit_images", optimizer="momentum", lr=0.05)
def resnet(draw: random.Random) -> nn.Module:
    """BatchNorm, ReLU after the sum."""
    channels = draw.choice((16, 24, 32))
    return _net([_Block(channels) for _ in range(draw.randint(3, 8))], channels)


@family(
    "digit_images", optimizer="momentum", lr=0.05, odd="the last norm of every branch begins at zero: no gradient inside in the first step"
)
def resnet_zero_init(draw: random.Random) -> nn.Module:
    """Goyal et al., 2017."""
    channels = draw.choice((16, 24, 32))
    return _net([_Block(channels, zero=True) for _ in range(draw.randint(3, 8))], channels)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1, 2), odd="81 to 121 layers")
def resnet_deep(draw: random.Random) -> nn.Module:
    """Very deep, and narrow."""
    return _net([_Block(12) for _ in range(draw.randint(40, 60))], 12)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1))
def resnet_gn(draw: random.Random) -> nn.Module:
    """GroupNorm in place of BatchNorm."""

    def norm(channels: int) -> nn.Module:
        return nn.GroupNorm(8, channels)

    return _net([_Block(24, norm) for _ in range(draw.randint(3, 6))], 24, norm)


class _PreBlock(nn.Module):
    def __init__(self, channels: int, drop: float = 0.0) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.drop:
            keep = torch.rand(len(x), 1, 1, 1) >= self.drop
            return x + self.branch(x) * keep / (1 - self.drop)
        return x + self.branch(x)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1))
def resnet_preact(draw: random.Random) -> nn.Module:
    """He et al., 2016: identity mappings."""
    return _net([_PreBlock(24) for _ in range(draw.randint(4, 10))], 24)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1), odd="whole branches are dropped in training")
def resnet_stochastic_depth(draw: random.Random) -> nn.Module:
    """Huang et al., 2016."""
    return _net([_PreBlock(24, 0.2) for _ in range(draw.randint(4, 8))], 24)


class _Scaled(nn.Module):
    """A linear branch times a learnt number or vector that begins at ``start``."""

    def __init__(self, width: int, start: float, size: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.scale = nn.Parameter(torch.full((size,), start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.branch(x)


@family("digits", seeds=(0, 1, 2), odd="every branch begins at exactly zero, and all inside gets no gradient in the first step")
def rezero(draw: random.Random) -> nn.Module:
    """Bachlechner et al., 2020."""
    return nn.Sequential(nn.Linear(64, 48), *(_Scaled(48, 0.0, 1) for _ in range(draw.randint(6, 16))), nn.Linear(48, 10))


class _ConvNextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.gelu = nn.GELU()
        self.contract = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.contract(self.gelu(self.expand(inner)))).permute(0, 3, 1, 2)


@family("digit_images", odd="LayerScale begins at 1e-6: gradients inside the branches are a millionth of those outside")
def convnext(draw: random.Random) -> nn.Module:
    """Liu et al., 2022."""
    channels = draw.choice((24, 32))
    blocks = [_ConvNextBlock(channels) for _ in range(draw.randint(3, 6))]
    return nn.Sequential(nn.Conv2d(1, channels, 2, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class _FixupBlock(nn.Module):
    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.relu = nn.ReLU()
        nn.init.normal_(self.conv1.weight, std=(2 / (9 * channels)) ** 0.5 * blocks**-0.5)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.scale * self.conv2(self.relu(self.conv1(x + self.bias1)) + self.bias2))


@family("digit_images", optimizer="momentum", lr=0.02, seeds=(0, 1), odd="no norm; the last convolution of every branch begins at zero")
def resnet_fixup(draw: random.Random) -> nn.Module:
    """Zhang et al., 2019."""
    count = draw.randint(4, 10)
    return _net([_FixupBlock(24, count) for _ in range(count)], 24, lambda _: nn.Identity())


class _Mixer(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.within = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norm2(x))


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=1)


@family("digit_rows", seeds=(0, 1))
def mixer(draw: random.Random) -> nn.Module:
    """MLP-Mixer."""
    blocks = [_Mixer(8, 32) for _ in range(draw.randint(2, 6))]
    return nn.Sequential(nn.Linear(8, 32), *blocks, nn.LayerNorm(32), _Mean(), nn.Linear(32, 10))
