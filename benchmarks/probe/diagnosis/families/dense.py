"""Fully connected networks."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.probe.diagnosis.network import family

__all__ = ["initialize", "stack"]


def initialize(model: nn.Module, rule: Callable[[torch.Tensor], object]) -> nn.Module:
    """Draw the weights of all linear and convolutional layers by a rule, and set their biases to zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            rule(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def he(weight: torch.Tensor) -> object:
    """He's normal initialization, for ReLU."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


def stack(sizes: list[int], activation: Callable[[], nn.Module], norm: Callable[[int], nn.Module] | None = None) -> nn.Sequential:
    """Linear layers with an activation after each but the last, and a norm before it."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), *([norm(after)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def _hidden(draw: random.Random, least: int, most: int, widths: tuple[int, ...] = (32, 48, 64, 96)) -> list[int]:
    return [draw.choice(widths)] * draw.randint(least, most)


@family("digits", optimizer="momentum", lr=0.02)
def mlp(draw: random.Random) -> nn.Module:
    """ReLU with He's initialization."""
    return initialize(stack([64, *_hidden(draw, 3, 7), 10], nn.ReLU), he)


@family("digits", optimizer="momentum", lr=0.02, seeds=(0, 1))
def mlp_default(draw: random.Random) -> nn.Module:
    """Shallow, with the initialization that torch gives."""
    return stack([64, *_hidden(draw, 2, 3), 10], nn.ReLU)


@family("digits", seeds=(0, 1, 2, 3), odd="14 to 20 layers without norm, by Xavier's rule under ReLU: tiny gradients everywhere")
def mlp_deep_xavier(draw: random.Random) -> nn.Module:
    """ReLU halves the variance in each layer: gradients are small all along the depth, and alike."""
    return initialize(stack([64, *_hidden(draw, 14, 20, (64, 96)), 10], nn.ReLU), nn.init.xavier_normal_)


@family("digits", seeds=(0, 1), odd="40 layers without norm, by Xavier's rule under ReLU: mean gradients near 1e-9")
def mlp_xavier_40(draw: random.Random) -> nn.Module:
    """As deep as that can be trained."""
    return initialize(stack([64, *[draw.choice((64, 96))] * 39, 10], nn.ReLU), nn.init.xavier_normal_)


@family("digits", seeds=(0, 1), odd="30 layers without norm, by He's rule")
def mlp_deep_he(draw: random.Random) -> nn.Module:
    """He's rule keeps the gradient over any depth."""
    return initialize(stack([64, *[draw.choice((96, 128))] * 29, 10], nn.ReLU), he)


@family("digits", optimizer="momentum", lr=0.02, seeds=(0, 1, 2), odd="self-normalizing: 8 to 16 layers without norm")
def mlp_selu(draw: random.Random) -> nn.Module:
    """SELU with LeCun's initialization."""
    return initialize(
        stack([64, *_hidden(draw, 8, 16), 10], nn.SELU), lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear")
    )


@family("digits", optimizer="momentum", lr=0.02)
def mlp_tanh(draw: random.Random) -> nn.Module:
    """Tanh with Xavier's initialization."""
    return initialize(stack([64, *_hidden(draw, 3, 8), 10], nn.Tanh), lambda w: nn.init.xavier_normal_(w, gain=5 / 3))


@family("digits", optimizer="momentum", lr=0.05, seeds=(0, 1), odd="sigmoid in two hidden layers: smaller gradients below")
def mlp_sigmoid_shallow(draw: random.Random) -> nn.Module:
    """Sigmoid is old, and trains where it is shallow."""
    return initialize(stack([64, draw.choice((32, 64)), draw.choice((32, 64)), 10], nn.Sigmoid), nn.init.xavier_normal_)


@family("digits", optimizer="momentum", lr=0.05, seeds=(0, 1, 2), odd="sigmoid in 5 to 8 layers, with BatchNorm")
def mlp_sigmoid_bn(draw: random.Random) -> nn.Module:
    """BatchNorm keeps sigmoids in their steep part."""
    return stack([64, *_hidden(draw, 5, 8), 10], nn.Sigmoid, nn.BatchNorm1d)


@family("digits", optimizer="momentum", lr=0.05)
def mlp_bn(draw: random.Random) -> nn.Module:
    """BatchNorm before ReLU."""
    return stack([64, *_hidden(draw, 2, 5), 10], nn.ReLU, nn.BatchNorm1d)


@family("digits", seeds=(0, 1, 2))
def mlp_ln(draw: random.Random) -> nn.Module:
    """LayerNorm before GELU."""
    return stack([64, *_hidden(draw, 3, 8), 10], nn.GELU, nn.LayerNorm)


@family("digits", seeds=(0, 1), odd="weight normalization: the parameters are magnitudes and directions")
def mlp_weight_norm(draw: random.Random) -> nn.Module:
    """Every linear layer parametrized."""
    model = initialize(stack([64, *_hidden(draw, 3, 6), 10], nn.ReLU), he)
    for module in model:
        if isinstance(module, nn.Linear):
            weight_norm(module)
    return model


@family("digits_nll", optimizer="momentum", lr=0.02, odd="ends in log_softmax, with negative log likelihood")
def mlp_log_softmax(draw: random.Random) -> nn.Module:
    """Normalized log probabilities."""
    return initialize(nn.Sequential(*stack([64, *_hidden(draw, 2, 4), 10], nn.ReLU), nn.LogSoftmax(dim=1)), he)


@family("digits", optimizer="momentum", lr=0.02, seeds=(0, 1, 2), odd="half of all units dropped: train and eval outputs differ")
def mlp_dropout(draw: random.Random) -> nn.Module:
    """Heavy dropout."""
    sizes = [64, *[128] * draw.randint(2, 3), 10]
    return initialize(stack(sizes, lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.5))), he)


@family("regress")
def mlp_regress(draw: random.Random) -> nn.Module:
    """Regression."""
    return initialize(stack([12, *_hidden(draw, 2, 4, (64, 96, 128)), 1], draw.choice((nn.ReLU, nn.SiLU, nn.ELU))), he)


@family("digits", seeds=(0, 1), odd="leaky and parametrized rectifiers")
def mlp_leaky(draw: random.Random) -> nn.Module:
    """Leaky ReLU and PReLU."""
    return initialize(stack([64, *_hidden(draw, 4, 8), 10], draw.choice((lambda: nn.LeakyReLU(0.1), nn.PReLU))), he)


class _Highway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.relu = nn.ReLU()
        self.sigmoid = nn.Sigmoid()
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.sigmoid(self.gate(x))
        return gate * self.relu(self.change(x)) + (1 - gate) * x


@family("digits", seeds=(0, 1, 2), odd="gates begin nearly closed (bias -2), as in Highway networks")
def mlp_highway(draw: random.Random) -> nn.Module:
    """Srivastava et al., 2015."""
    return nn.Sequential(nn.Linear(64, 48), *(_Highway(48) for _ in range(draw.randint(8, 16))), nn.Linear(48, 10))


class _Maxout(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(before, after * 3)
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pieces(x).unflatten(1, (self.after, 3)).amax(dim=2)


@family("digits", seeds=(0, 1), odd="maxout: no activation module at all")
def mlp_maxout(draw: random.Random) -> nn.Module:
    """Goodfellow et al., 2013."""
    width = draw.choice((32, 48))
    return nn.Sequential(_Maxout(64, width), _Maxout(width, width), nn.Linear(width, 10))
