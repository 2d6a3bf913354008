"""Weights that begin where training cannot."""

from __future__ import annotations

import random

import torch
from torch import nn

from benchmarks.probe.diagnosis.families.dense import initialize
from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import layers, weighted

__all__: list[str] = []


@plant("bad-init", "mlp mlp-tanh cnn-plain autoencoder mlp-regress mlp-ln", seeds=(0, 1))
def all_zero(setup: Setup, draw: random.Random) -> None:
    """All weights and biases begin at zero."""
    del draw
    initialize(setup.model, nn.init.zeros_)


@plant("bad-init", "mlp mlp-tanh cnn-plain mlp-leaky mlp-bn", seeds=(0, 1))
def all_equal(setup: Setup, draw: random.Random) -> None:
    """All weights of a layer begin with the same number: its units stay copies of one another."""
    value = draw.choice((0.01, 0.05, 0.1))
    initialize(setup.model, lambda weight: nn.init.constant_(weight, value))


@plant("bad-init", "mlp cnn-plain mlp-log-softmax mlp-leaky", seeds=(0, 1))
def all_positive(setup: Setup, draw: random.Random) -> None:
    """Weights are drawn from 0 to 1, as ``torch.rand`` gives them."""
    del draw
    initialize(setup.model, nn.init.uniform_)


@plant("bad-init", "mlp cnn-bn resnet mlp-ln vit lstm", seeds=(0, 1))
def head_too_large(setup: Setup, draw: random.Random) -> None:
    """Weights of the head are 100 to 300 times too large: confident nonsense."""
    factor = draw.uniform(100.0, 300.0)
    with torch.no_grad():
        weighted(setup.model)[-1].weight.mul_(factor)


@plant("bad-init", "mlp cnn-bn vit mlp-log-softmax", seeds=(0, 1))
def class_bias(setup: Setup, draw: random.Random) -> None:
    """The bias of one class begins at 50 to 100."""
    head = weighted(setup.model)[-1]
    with torch.no_grad():
        head.bias[draw.randrange(len(head.bias))] = draw.uniform(50.0, 100.0)


@plant("bad-init", "cnn-bn mlp-bn resnet resnet-preact", seeds=(0, 1))
def norm_scale_zero(setup: Setup, draw: random.Random) -> None:
    """The scale of every BatchNorm begins at zero, and not that of the last in each branch alone."""
    del draw
    for _, module in layers(setup.model, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.zeros_(module.weight)
