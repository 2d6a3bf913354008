"""Convolutional networks without shortcuts."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.families.dense import he, initialize
from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def _plain(draw: random.Random, norm: type[nn.Module] | None, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolutions of 3 by 3 with growing width, halving the map once."""
    width = draw.choice((16, 24))
    layers: list[nn.Module] = []
    before = 1
    for index in range(draw.randint(3, 6)):
        after = width if index < 2 else 2 * width
        layers.append(nn.Conv2d(before, after, 3, padding=1, stride=2 if index == 2 else 1, bias=norm is None))
        if norm is not None:
            layers.append(nn.GroupNorm(8, after) if norm is nn.GroupNorm else norm(after))
        layers.append(activation())
        before = after
    return nn.Sequential(*layers, *_head(before))


@family("digit_images", optimizer="momentum", lr=0.05)
def cnn_bn(draw: random.Random) -> nn.Module:
    """Convolution, BatchNorm, ReLU."""
    return _plain(draw, nn.BatchNorm2d)


@family("digit_images", optimizer="momentum", lr=0.05)
def cnn_plain(draw: random.Random) -> nn.Module:
    """No norm, He's initialization."""
    return initialize(_plain(draw, None), he)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1, 2))
def cnn_gn(draw: random.Random) -> nn.Module:
    """GroupNorm."""
    return _plain(draw, nn.GroupNorm, nn.SiLU)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1), odd="InstanceNorm, and no running statistics on purpose")
def cnn_in(draw: random.Random) -> nn.Module:
    """InstanceNorm; the maps are not averaged, as their means are all alike."""
    width = draw.choice((16, 24))
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()]
    for _ in range(draw.randint(1, 3)):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * width, 10))


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1), odd="activations in place, bounded rectifiers")
def cnn_inplace(draw: random.Random) -> nn.Module:
    """In-place ReLU6."""
    model = _plain(draw, nn.BatchNorm2d, nn.ReLU6)
    for module in model:
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return model


class _Functional(nn.Module):
    """LeNet's shape, every activation a function."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(8 * width, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


@family("digit_images", seeds=(0, 1, 2, 3), odd="activations are functions, not modules")
def cnn_functional(draw: random.Random) -> nn.Module:
    """``F.relu`` everywhere."""
    return initialize(_Functional(draw.choice((8, 16))), he)


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 8, 1), nn.ReLU(), nn.Conv2d(8, channels, 1), nn.Sigmoid())
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm1(self.depthwise(x)))
        x = x * self.squeeze(x)
        return self.act(self.norm2(self.pointwise(x)))


@family("digit_images", seeds=(0, 1, 2), odd="depthwise convolutions and gates: gradients of very different size")
def cnn_mobile(draw: random.Random) -> nn.Module:
    """MobileNetV3's parts."""
    channels = draw.choice((16, 32))
    blocks = [_Separable(channels) for _ in range(draw.randint(2, 5))]
    stem = [nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.Hardswish()]
    return nn.Sequential(*stem, *blocks, *_head(channels))


class _Dense(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(before)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(before, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv(self.relu(self.norm(x)))], dim=1)


@family("digit_images", optimizer="momentum", lr=0.05, seeds=(0, 1))
def cnn_densenet(draw: random.Random) -> nn.Module:
    """DenseNet's concatenations."""
    growth, count = draw.choice((8, 12)), draw.randint(4, 8)
    blocks = [_Dense(16 + index * growth, growth) for index in range(count)]
    channels = 16 + count * growth
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), *blocks, nn.BatchNorm2d(channels), nn.ReLU(), *_head(channels))


class _Gated(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1)
        self.tanh = nn.Tanh()
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.tanh(self.filter(x)) * self.sigmoid(self.gate(x))


@family("digit_images", seeds=(0, 1), odd="tanh times sigmoid in every block")
def cnn_gated(draw: random.Random) -> nn.Module:
    """WaveNet's units."""
    return nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), *(_Gated(24) for _ in range(draw.randint(3, 6))), *_head(24))
