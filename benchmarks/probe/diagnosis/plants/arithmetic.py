"""Numbers that are infinite or none at all."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.network import Setup, plant
from benchmarks.probe.diagnosis.plants.surgery import ACTIVATIONS, Apply, after, replace

__all__: list[str] = []


@plant("nan", "mlp cnn-plain cnn-bn siamese", seeds=(0, 1))
def root_at_zero(setup: Setup, draw: random.Random) -> None:
    """Distances of all samples from each other, themselves included, by hand: the slope of the root at zero is infinite."""

    def crowded(x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        distances = (flat[:, None] - flat[None]).square().sum(dim=2).sqrt()
        return x / (1 + distances.mean(dim=1)).view(-1, *[1] * (x.ndim - 1))

    after(setup.model, (nn.ReLU,), lambda _: Apply(crowded), draw)


@plant("nan", "mlp mlp-bn mlp-ln mlp-regress", seeds=(0, 1))
def standardized_constants(setup: Setup, draw: random.Random) -> None:
    """Inputs are divided by their standard deviation in the batch; some are constant."""
    del draw

    def standardize(x: torch.Tensor) -> torch.Tensor:
        padded = torch.cat([x[:, :-1], torch.zeros_like(x[:, -1:])], dim=1)
        return (padded - padded.mean(dim=0)) / padded.std(dim=0)

    setup.model = nn.Sequential(Apply(standardize), setup.model)


@plant("nan", "mlp-log-softmax mlp-deep-he", seeds=(0, 1))
def log_of_softmax(setup: Setup, draw: random.Random) -> None:
    """The logarithm of a softmax of large numbers, taken in two steps: the smallest probabilities round to zero."""
    del draw
    body = setup.model if not isinstance(list(setup.model)[-1], nn.LogSoftmax) else nn.Sequential(*list(setup.model)[:-1])
    setup.model = nn.Sequential(body, Apply(lambda x: torch.log(F.softmax(x * 400, dim=1))))


@plant("nan", "mlp-tanh autoencoder-variational", seeds=(0, 1, 2))
def exponential_overflow(setup: Setup, draw: random.Random) -> None:
    """An exponential of unbounded numbers, divided by its sum: a softmax by hand without taking off the maximum."""

    def shares(x: torch.Tensor) -> torch.Tensor:
        powers = (x * 300).exp()
        return powers / powers.sum(dim=-1, keepdim=True)

    after(setup.model, (nn.Linear,), lambda _: Apply(shares), draw)


class _FullyMasked(nn.Module):
    """Attention over words; samples whose words are all alike are padding, and have nothing to look at."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.words, self.norm, self.head = inner.words, inner.norm, inner.head
        width = inner.words.embedding_dim
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        words = self.words(x)
        scores = self.query(words) @ self.key(words).transpose(1, 2) / words.shape[-1] ** 0.5
        allowed = (x[:, None, :] > x[:, :, None]).float()  # A word looks at larger ones: the largest at none.
        scores = scores.masked_fill(allowed == 0, float("-inf"))
        return self.head(self.norm(words + scores.softmax(dim=-1) @ self.value(words)).mean(dim=1))


@plant("nan", "attention-masked", seeds=(0, 1, 2, 3))
def nothing_to_look_at(setup: Setup, draw: random.Random) -> None:
    """A row of an attention mask allows nothing: softmax of nothing but minus infinity."""
    del draw
    setup.model = _FullyMasked(setup.model)


@plant("nan", "mixer vit", seeds=(0, 1))
def norm_without_eps(setup: Setup, draw: random.Random) -> None:
    """A layer norm by hand with no eps meets features that are all alike."""
    del draw

    def normalize(x: torch.Tensor) -> torch.Tensor:
        blank = x * (x.mean(dim=-1, keepdim=True) > -0.5)  # Dark rows are padding.
        centred = blank - blank.mean(dim=-1, keepdim=True)
        return centred / centred.square().mean(dim=-1, keepdim=True).sqrt()

    setup.model = nn.Sequential(Apply(normalize), setup.model)


class _Half(nn.Module):
    """A part that computes in half precision, on numbers beyond its range."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        big = (x * self.factor).half()
        return (big - big.mean(dim=0)).float() / self.factor


@plant("nan", "mlp cnn-bn mlp-selu", seeds=(0, 1))
def half_overflow(setup: Setup, draw: random.Random) -> None:
    """Half precision inside, and numbers beyond 65504."""
    factor = draw.uniform(2e5, 1e6)
    after(setup.model, (nn.ReLU, nn.SELU), lambda _: _Half(factor), draw)


@plant("nan", "mlp mlp-tanh", seeds=(0, 1, 2))
def missing_values(setup: Setup, draw: random.Random) -> None:
    """Missing values of some samples reach the network as they are."""
    share = draw.uniform(0.05, 0.2)

    def lose(x: torch.Tensor) -> torch.Tensor:
        return torch.where((x.sum(dim=1, keepdim=True) * 997).remainder(1.0) < share, torch.full_like(x, float("nan")), x)

    setup.model = nn.Sequential(Apply(lose), setup.model)


@plant("nan", "mlp-bn unet resnet", seeds=(0, 1))
def unfilled_memory(setup: Setup, draw: random.Random) -> None:
    """One parameter was never filled, and holds what memory held: not a number."""
    parameter = draw.choice([parameter for parameter in setup.model.parameters() if parameter.ndim > 1])
    with torch.no_grad():
        parameter.view(-1)[:: max(1, parameter.numel() // 7)] = float("nan")


@plant("nan", "mlp-tanh cnn-gn", seeds=(0, 1))
def arc_cosine_at_one(setup: Setup, draw: random.Random) -> None:
    """An arc cosine of features divided by the largest of them: its slope at one is infinite."""
    del draw
    replace(setup.model, ACTIVATIONS, lambda _: Apply(lambda x: torch.acos(x / x.abs().amax(dim=1, keepdim=True))))
