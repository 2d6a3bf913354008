"""Healthy networks whose setting is unusual: frozen parts, trained weights, unusual outputs."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.families.dense import he, initialize, stack
from benchmarks.probe.diagnosis.network import family
from benchmarks.probe.diagnosis.tasks import TASKS

__all__: list[str] = []


def _pretrain(model: nn.Module, task: str, steps: int, lr: float) -> nn.Module:
    """Train for a while: the network begins as a checkpoint."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for *inputs, target in TASKS[task].batches(99, steps, 64):
        optimizer.zero_grad()
        TASKS[task].loss(model(*inputs), target).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model


@family("digits", lr=3e-3, seeds=(0, 1, 2), odd="all but the head is frozen")
def frozen_backbone(draw: random.Random) -> nn.Module:
    """Random features, and a head that learns."""
    backbone = initialize(stack([64, 128, draw.choice((128, 192)), 128], nn.ReLU), he)
    backbone.requires_grad_(requires_grad=False)
    return nn.Sequential(backbone, nn.ReLU(), nn.Linear(128, 10))


class _FrozenFeatures(nn.Module):
    """Pretrained BatchNorm features kept in eval mode under ``no_grad``, a head on top."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.requires_grad_(requires_grad=False)
        self.head = nn.Linear(64, 10)

    def train(self, mode: bool = True) -> _FrozenFeatures:  # noqa: FBT001, FBT002 - as torch has it
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.features(x)
        return self.head(features)


@family("digits", lr=3e-3, seeds=(0, 1, 2), odd="a pretrained, frozen BatchNorm backbone in eval mode under no_grad")
def frozen_bn_backbone(draw: random.Random) -> nn.Module:
    """The usual linear probe."""
    trunk = stack([64, draw.choice((64, 96)), 64, 10], nn.ReLU, nn.BatchNorm1d)
    _pretrain(trunk, "digits", 60, 3e-3)
    return _FrozenFeatures(nn.Sequential(*list(trunk)[:-1]).eval())


@family("digits", lr=1e-3, seeds=(0, 1, 2, 3), odd="a trained checkpoint: small loss, small gradients, some units dead")
def checkpoint(draw: random.Random) -> nn.Module:
    """Training goes on."""
    width, depth = draw.choice((64, 96)), draw.randint(2, 4)
    norm = draw.choice((None, nn.BatchNorm1d))
    return _pretrain(initialize(stack([64, *[width] * depth, 10], nn.ReLU, norm), he), "digits", 100, 3e-3)


@family("digit_images", lr=1e-3, seeds=(0, 1), odd="a trained checkpoint with a new head")
def fine_tuning(draw: random.Random) -> nn.Module:
    """The old head is thrown away."""
    width = draw.choice((16, 24))
    features = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    _pretrain(nn.Sequential(features, nn.Linear(4 * width, 10)), "digit_images", 60, 3e-3)
    return nn.Sequential(features, nn.Linear(4 * width, 10))


class _LowRank(nn.Module):
    """A frozen layer and a low-rank change of it, whose second half begins at zero."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(requires_grad=False)
        self.down = nn.Linear(linear.in_features, 4, bias=False)
        self.up = nn.Linear(4, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.up(self.down(x))


@family("digits", lr=1e-2, seeds=(0, 1, 2), odd="LoRA: the second factor begins at zero, so the first gets no gradient in the first step")
def lora(draw: random.Random) -> nn.Module:
    """Hu et al., 2021, on a network that was trained with its inputs mirrored."""
    model = initialize(stack([64, draw.choice((64, 96)), 64, 10], nn.ReLU), he)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for inputs, target in TASKS["digits"].batches(98, 60, 64):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs.flip(1)), target).backward()
        optimizer.step()
    optimizer.zero_grad()
    return nn.Sequential(*(_LowRank(module) if isinstance(module, nn.Linear) else module for module in model))


class _TwoHeads(nn.Module):
    """An auxiliary head whose output the loss does not use at evaluation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(64, width), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.auxiliary = nn.Linear(width, 10)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        out = self.head(self.second(first))
        return out + 0.1 * self.auxiliary(first) if self.training else out


@family("digits", seeds=(0, 1), odd="a head that is used in training alone, with a tenth of the weight")
def auxiliary_head(draw: random.Random) -> nn.Module:
    """Inception's auxiliary classifier, joined by a sum."""
    return _TwoHeads(draw.choice((48, 64)))


@family("digits", lr=3e-3, seeds=(0, 1), odd="weights of the head begin at zero: no gradient below it in the first step")
def zero_head(draw: random.Random) -> nn.Module:
    """As in many fine-tuning recipes."""
    model = initialize(stack([64, *[draw.choice((64, 96))] * 3, 10], nn.ReLU), he)
    nn.init.zeros_(model[-1].weight)
    return model


@family("digits", lr=3e-3, seeds=(0, 1), odd="BatchNorm straight on raw inputs of 0 to 255")
def raw_inputs(draw: random.Random) -> nn.Module:
    """The first norm does what preprocessing did not."""
    return nn.Sequential(_Raw(), nn.BatchNorm1d(64), *stack([64, draw.choice((48, 64)), 48, 10], nn.ReLU))


class _Raw(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 80 + 100


class _TopK(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        least = x.topk(self.k, dim=1).values[:, -1:]
        return x * (x >= least)


@family("digits", seeds=(0, 1), odd="nine of ten units are zero in each sample, others in every sample")
def top_k(draw: random.Random) -> nn.Module:
    """A sparse code."""
    width = draw.choice((128, 160))
    return nn.Sequential(nn.Linear(64, width), _TopK(width // 10), nn.Linear(width, 10))


class _Temperature(nn.Module):
    """Cosine similarities with class vectors times a learnt temperature, as in CLIP and ArcFace."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = initialize(stack([64, width, width, 32], nn.ReLU), he)
        self.classes = nn.Parameter(torch.randn(10, 32))
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        similarity = F.normalize(self.features(x), dim=1) @ F.normalize(self.classes, dim=1).T
        return similarity * self.log_scale.exp()


@family("digits", seeds=(0, 1), odd="cosine head with temperature: the first loss is above log K")
def cosine_head(draw: random.Random) -> nn.Module:
    """CLIP's head; exp(2.66) = 14.3."""
    return _Temperature(draw.choice((64, 96)))


class _StraightThrough(nn.Module):
    """Signs forward, identity backward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x.sign() - x).detach()


@family("digits", seeds=(0, 1), odd="binary activations with a straight-through estimator: a detach that is meant")
def binary(draw: random.Random) -> nn.Module:
    """Bengio et al., 2013."""
    width = draw.choice((96, 128))
    layers = [nn.Linear(64, width), nn.BatchNorm1d(width), _StraightThrough(), nn.Linear(width, width), nn.BatchNorm1d(width)]
    return nn.Sequential(*layers, _StraightThrough(), nn.Linear(width, 10))
