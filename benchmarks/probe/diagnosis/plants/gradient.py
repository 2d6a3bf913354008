"""Parameters that no gradient reaches."""

from __future__ import annotations

import random

import torch
from torch import nn

from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, layers, replace

__all__: list[str] = []


def _cut(setup: Setup, draw: random.Random, function: object, kinds: tuple[type[nn.Module], ...] = ACTIVATIONS) -> None:
    """Put a function behind an activation of the second half."""
    found = layers(setup.model, kinds)
    name, module = draw.choice(found[len(found) // 2 :])
    parent, _, child = name.rpartition(".")
    setattr(setup.model.get_submodule(parent), child, nn.Sequential(module, Apply(function)))


@plant("no-gradient", "mlp cnn-bn cnn-plain mlp-bn mlp-ln mlp-tanh", seeds=(0, 1))
def detached(setup: Setup, draw: random.Random) -> None:
    """A ``detach`` was left inside."""
    _cut(setup, draw, lambda x: x.detach())


@plant("no-gradient", "mlp mlp-ln cnn-gn siamese", seeds=(0, 1))
def through_numpy(setup: Setup, draw: random.Random) -> None:
    """Features go through numpy and come back as a new tensor."""
    _cut(setup, draw, lambda x: torch.from_numpy(x.detach().numpy().copy()))


class _Untracked(nn.Module):
    """The trunk runs under ``no_grad`` although its parameters are to be trained."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.trunk(x)
        return self.head(features)


@plant("no-gradient", "mlp mlp-selu cnn-plain cnn-bn resnet", seeds=(0, 1))
def trunk_under_no_grad(setup: Setup, draw: random.Random) -> None:
    """All but the head runs under ``no_grad``; nothing is frozen."""
    del draw
    parts = list(setup.model)
    setup.model = _Untracked(nn.Sequential(*parts[:-1]), parts[-1])


@plant("no-gradient", "mlp mlp-tanh cnn-bn mlp-leaky", seeds=(0, 1))
def hard_threshold(setup: Setup, draw: random.Random) -> None:
    """Activations are zero or one by comparison."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: Apply(lambda x: (x > 0).to(x.dtype)))


@plant("no-gradient", "mlp-tanh autoencoder discriminator", seeds=(0, 1))
def rounded(setup: Setup, draw: random.Random) -> None:
    """Features are rounded to quarters with nothing to carry the gradient over."""
    _cut(setup, draw, lambda x: torch.round(x * 4) / 4)


class _Gate(nn.Module):
    """A branch times a number that is zero and stays so."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("gate", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.gate * (self.block(x) - x)


@plant("no-gradient", "rezero resnet mixer resnet-preact", seeds=(0, 1))
def gates_stay_zero(setup: Setup, draw: random.Random) -> None:
    """Every residual block is gated by a zero that is a buffer and not a parameter."""
    del draw
    last = max(index for index, module in enumerate(setup.model) if list(module.children()))
    for index, module in enumerate(setup.model):
        if index <= last and list(module.children()):
            setup.model[index] = _Gate(module)


@plant("no-gradient", "lora", seeds=(0, 1, 2, 3))
def both_factors_zero(setup: Setup, draw: random.Random) -> None:
    """Both factors of a low-rank change begin at zero: neither ever gets a gradient."""
    del draw
    for name, module in layers(setup.model, (nn.Linear,)):
        if name.endswith("down"):
            nn.init.zeros_(module.weight)


@plant("no-gradient", "lstm-language bag-of-words", seeds=(0, 1))
def embedding_detached(setup: Setup, draw: random.Random) -> None:
    """Embeddings are read through ``.data``."""
    del draw
    width = setup.model.words.embedding_dim
    words = nn.Embedding(24, width)
    nn.init.normal_(words.weight, std=0.02)
    setup.model.words = nn.Sequential(words, Apply(lambda x: x.data))


@plant("no-gradient", "mlp cnn-bn", seeds=(0, 1))
def parameters_copied(setup: Setup, draw: random.Random) -> None:
    """Hidden layers compute with a copy of their weights that was made at construction."""
    del draw
    for _, module in layers(setup.model, (nn.Linear, nn.Conv2d))[:-1]:
        _freeze_copy(module)


def _freeze_copy(module: nn.Module) -> None:
    copy = module.weight.detach().clone()

    def forward(x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, nn.Linear):
            return nn.functional.linear(x, copy)
        return nn.functional.conv2d(x, copy, None, module.stride, module.padding)

    module.forward = forward
