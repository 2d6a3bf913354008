"""Causes that only the held-out half holds: nothing was chosen by them."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.families.dense import initialize
from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, after, layers, replace, weighted

__all__: list[str] = []

_SEEDS = (1, 3)


@plant("vanishing", "mlp-deep-he mlp-leaky mlp-selu", seeds=_SEEDS)
def uniform_init_small(setup: Setup, draw: random.Random) -> None:
    """Weights drawn evenly from -0.05 to 0.05, Keras' old default, in a stack without norm."""
    del draw
    initialize(setup.model, lambda weight: nn.init.uniform_(weight, -0.05, 0.05))


@plant("vanishing", "mlp-tanh mlp-selu mlp-deep-he", seeds=_SEEDS)
def squashed_squares(setup: Setup, draw: random.Random) -> None:
    """The activation is a product of two sigmoids, flatter than one."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: Apply(lambda x: x.sigmoid() * (1 - x.sigmoid())))


@plant("exploding", "mlp-selu mlp-leaky mlp-log-softmax", seeds=_SEEDS)
def orthogonal_with_large_gain(setup: Setup, draw: random.Random) -> None:
    """Orthogonal initialization with a gain of 4 to 6, without norm."""
    gain = draw.uniform(4.0, 6.0)
    initialize(setup.model, lambda weight: nn.init.orthogonal_(weight, gain=gain))


@plant("exploding", "resnet-fixup resnet-preact", seeds=_SEEDS)
def sums_without_norm(setup: Setup, draw: random.Random) -> None:
    """Every block adds its input to three convolutions of it, twelve times over, and nothing is normalized."""
    del draw
    width = 16

    class _Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + sum(F.leaky_relu(conv(x), 0.2) for conv in self.convs)

    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    setup.model = initialize(nn.Sequential(nn.Conv2d(1, width, 3, padding=1), *(_Sum() for _ in range(12)), *head), nn.init.kaiming_normal_)


@plant("dead", "mlp cnn-plain autoencoder", seeds=_SEEDS)
def threshold_too_high(setup: Setup, draw: random.Random) -> None:
    """A number is taken off before each rectifier that nothing reaches."""
    number = draw.uniform(20.0, 60.0)
    replace(setup.model, (nn.ReLU,), lambda _: nn.Sequential(Apply(lambda x: x - number), nn.ReLU()))


@plant("dead", "mlp-bn cnn-bn", seeds=_SEEDS)
def wrong_sign_of_norm(setup: Setup, draw: random.Random) -> None:
    """One rectifier sees minus the square of what the norm gives."""
    found = layers(setup.model, (nn.ReLU,))
    name, _ = draw.choice(found)
    parent, _, child = name.rpartition(".")
    setattr(setup.model.get_submodule(parent), child, nn.Sequential(Apply(lambda x: -x.square()), nn.ReLU()))


@plant("saturated", "mlp-tanh rnn-by-hand cnn-gated", seeds=_SEEDS)
def unit_normal_under_tanh(setup: Setup, draw: random.Random) -> None:
    """Weights drawn with a standard deviation of 5 before bounded activations."""
    del draw
    for module in weighted(setup.model, last=False):
        nn.init.normal_(module.weight, std=5.0)


@plant("saturated", "mlp cnn-bn", seeds=_SEEDS)
def hard_bounds(setup: Setup, draw: random.Random) -> None:
    """Rectifiers were exchanged for ``Hardtanh`` between -0.01 and 0.01."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: nn.Hardtanh(-0.01, 0.01))


@plant("nan", "mlp cnn-plain", seeds=_SEEDS)
def log_of_rectified(setup: Setup, draw: random.Random) -> None:
    """A logarithm of rectified values, some of which are zero."""
    after(setup.model, (nn.ReLU,), lambda _: Apply(torch.log), draw)


@plant("nan", "mlp mlp-ln siamese", seeds=_SEEDS)
def divided_by_difference(setup: Setup, draw: random.Random) -> None:
    """Features are scaled to the range from their minimum to their maximum in the batch; some are constant."""

    def scale(x: torch.Tensor) -> torch.Tensor:
        quiet = x * (torch.arange(x.shape[-1], device=x.device) > 0)
        low, high = quiet.amin(dim=0), quiet.amax(dim=0)
        return (quiet - low) / (high - low)

    after(setup.model, (nn.Linear, nn.Conv2d), lambda _: Apply(scale), draw)


@plant("no-gradient", "mlp mlp-ln mlp-bn", seeds=_SEEDS)
def one_hot_inside(setup: Setup, draw: random.Random) -> None:
    """The largest feature becomes a one-hot vector by ``argmax``."""
    after(setup.model, ACTIVATIONS, lambda _: Apply(lambda x: F.one_hot(x.argmax(dim=1), x.shape[1]).to(x.dtype)), draw)


@plant("no-gradient", "cnn-plain cnn-bn resnet", seeds=_SEEDS)
def made_anew(setup: Setup, draw: random.Random) -> None:
    """Features are put into a new tensor by ``torch.tensor(x.tolist())``."""
    found = layers(setup.model, (nn.AdaptiveAvgPool2d,))
    name, module = draw.choice(found)
    setattr(setup.model, name, nn.Sequential(module, Apply(lambda x: torch.tensor(x.tolist()))))


@plant("bad-init", "mlp mlp-leaky mlp-bn cnn-plain", seeds=_SEEDS)
def weights_all_one(setup: Setup, draw: random.Random) -> None:
    """All weights begin at one, as ``torch.ones`` gives them."""
    del draw
    initialize(setup.model, nn.init.ones_)


@plant("bad-init", "cnn-functional mlp-default vit", seeds=_SEEDS)
def head_unit_normal(setup: Setup, draw: random.Random) -> None:
    """The head is drawn with a standard deviation of 30 to 60."""
    nn.init.normal_(weighted(setup.model)[-1].weight, std=draw.uniform(30.0, 60.0))


@plant("mode", "cnn-bn mlp-bn resnet", seeds=_SEEDS)
def statistics_of_one_batch(setup: Setup, draw: random.Random) -> None:
    """BatchNorm with ``F.batch_norm(..., training=True)`` in either mode."""
    del draw

    class _Functional(nn.Module):
        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.weight, self.bias = norm.weight, norm.bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)

    replace(setup.model, (nn.BatchNorm1d, nn.BatchNorm2d), _Functional)


@plant("mode", "mlp cnn-gn mlp-ln", seeds=_SEEDS)
def other_branch_at_evaluation(setup: Setup, draw: random.Random) -> None:
    """``if self.training:`` around an activation: evaluation goes without it."""

    class _Branch(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) if self.training else x

    del draw
    replace(setup.model, ACTIVATIONS, _Branch)
