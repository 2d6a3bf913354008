"""Healthy networks that only the held-out half holds: nothing was chosen by them."""

from __future__ import annotations

import math
import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.families.dense import he, initialize, stack
from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []

_SEEDS = (1, 3)


class _Sine(nn.Module):
    def __init__(self, before: int, after: int, omega: float) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        self.omega = omega
        bound = 1 / before if omega > 1 else math.sqrt(6 / before)
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * self.linear(x))


@family("digits", seeds=_SEEDS, odd="sines as activations (SIREN)")
def siren(draw: random.Random) -> nn.Module:
    """Sitzmann et al., 2020."""
    width = draw.choice((64, 96))
    return nn.Sequential(_Sine(64, width, 3.0), _Sine(width, width, 1.0), _Sine(width, width, 1.0), nn.Linear(width, 10))


@family("digit_images", optimizer="momentum", lr=0.02, seeds=_SEEDS, odd="large linear layers with dropout behind few convolutions")
def alexnet(draw: random.Random) -> nn.Module:
    """AlexNet's shape."""
    width = draw.choice((16, 24))
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * width, 256),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(256, 256),
        nn.ReLU(inplace=True),
        nn.Linear(256, 10),
    )


class _Inception(nn.Module):
    """Branches of different size side by side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()

        def conv(size: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU())

        self.one, self.three, self.five = conv(1), conv(3), conv(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x)], dim=1)


@family("digit_images", seeds=_SEEDS, odd="parallel branches: neighbours in order are not neighbours in depth")
def inception(draw: random.Random) -> nn.Module:
    """GoogLeNet's blocks."""
    width = draw.choice((8, 12))
    blocks = [_Inception(1, width), _Inception(3 * width, width), _Inception(3 * width, width)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12 * width, 10))


class _Graph(nn.Module):
    """Convolutions on a graph: pixels joined to their neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        at = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij"), dim=-1).reshape(64, 2)
        near = ((at[:, None] - at[None]).abs().amax(dim=2) <= 1).float()
        self.register_buffer("adjacency", near / near.sum(dim=1, keepdim=True))
        self.place = nn.Parameter(torch.randn(64, width) * 0.5)
        self.first, self.second, self.third = nn.Linear(1, width), nn.Linear(width, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nodes = torch.tanh(self.first(x[:, :, None])) * self.place
        nodes = F.relu(self.second(self.adjacency @ nodes)) + nodes
        nodes = F.relu(self.third(self.adjacency @ nodes)) + nodes
        return self.head(nodes.mean(dim=1))


@family("digits", lr=5e-3, seeds=_SEEDS, odd="a graph network with functional activations")
def graph(draw: random.Random) -> nn.Module:
    """Kipf and Welling, 2017."""
    return _Graph(draw.choice((48, 64)))


class _Ensemble(nn.Module):
    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(initialize(stack([64, width, width, 10], nn.ReLU), he) for _ in range(members))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([member(x) for member in self.members]).mean(dim=0)


@family("digits", optimizer="momentum", lr=0.02, seeds=_SEEDS, odd="an ensemble: the same depth several times over")
def ensemble(draw: random.Random) -> nn.Module:
    """A mean of networks."""
    return _Ensemble(draw.randint(3, 6), draw.choice((32, 48)))


class _Attentive(nn.Module):
    """A recurrent encoder with attention over its states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, width, batch_first=True)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(x)
        return self.head((self.score(states).softmax(dim=1) * states).sum(dim=1))


@family("digit_rows", lr=3e-3, seeds=_SEEDS, odd="a softmax over time steps inside")
def attentive_gru(draw: random.Random) -> nn.Module:
    """Bahdanau's pooling."""
    return _Attentive(draw.choice((32, 48)))


class _Rms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6) * self.weight


class _Gated(nn.Module):
    """A block of Llama without its attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _Rms(width)
        self.gate, self.up = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.norm(x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))


@family("digits", seeds=_SEEDS, odd="RMSNorm by hand, gated branches")
def llama_blocks(draw: random.Random) -> nn.Module:
    """SwiGLU and RMSNorm."""
    return nn.Sequential(nn.Linear(64, 48), *(_Gated(48) for _ in range(draw.randint(6, 16))), _Rms(48), nn.Linear(48, 10))


@family("reconstruct", lr=2e-3, seeds=_SEEDS, odd="noise on the input, in training alone; a sparse, wide code")
def autoencoder_denoising(draw: random.Random) -> nn.Module:
    """Vincent et al., 2008."""
    width = draw.choice((128, 192))
    body = initialize(stack([64, width, width, 64], nn.ReLU), he)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), body, nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
