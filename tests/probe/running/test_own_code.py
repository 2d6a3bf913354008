"""What a model's own code makes of its mode: dropout by hand told from everything else that differs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.running.own_code import kept_mean, reads_mode

SHAPES = [(32, 64), (8, 16, 32), (8, 32, 6, 6)]


def drawn(shape, kept, axes=None):
    """Masks of four passes; with axes, one decision for all places along them."""
    generator = torch.Generator().manual_seed(0)
    size = [1 if axes and axis in axes else length for axis, length in enumerate(shape)]
    return [(torch.rand(size, generator=generator) < kept).double().expand(shape) for _ in range(4)]


def values(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kept", "factor", "expected"), [(0.5, 1.0, 0.5), (0.2, 1.0, 0.2), (0.9, 1.0, 0.9), (0.5, 4.0, 2.0)])
def test_the_mean_that_is_left(shape, kept, factor, expected):
    base = values(shape)
    assert kept_mean(base, [base * mask * factor for mask in drawn(shape, kept)]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_dropout_that_divides_leaves_all_of_it(shape, kept):
    base = values(shape)
    assert kept_mean(base, [base * mask / kept for mask in drawn(shape, kept)]) == 1.0


def test_behind_a_rectifier():
    base = F.relu(values((32, 64)))
    assert kept_mean(base, [base * mask for mask in drawn((32, 64), 0.5)]) == pytest.approx(0.5, rel=0.05)


def test_whole_channels_of_maps():
    base = values((16, 64, 5, 5))
    assert kept_mean(base, [base * mask for mask in drawn((16, 64, 5, 5), 0.5, axes=(2, 3))]) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ((32, 64), lambda base, mask: base + mask),
        ((32, 64), lambda base, mask: base * (1 + mask)),
        ((32, 64), lambda base, mask: torch.tanh(base * mask)),
        ((32, 64), lambda base, mask: torch.where(mask > 0, base, -1.7)),
        ((32, 64), lambda base, mask: -base * mask),
        ((32, 64), lambda base, mask: base * mask[:, :1]),
        ((8, 16, 32), lambda base, mask: base * mask[:, :, :1]),
        ((8, 16, 32), lambda base, mask: base * mask[:, :1]),
        ((64,), lambda base, mask: base * mask),
        ((4, 8), lambda base, mask: base * mask),
    ],
    ids=["noise", "factors", "bent", "other fill", "sign", "samples", "steps in time", "features", "no samples", "few values"],
)
def test_what_is_no_dropout(shape, change):
    base = values(shape)
    assert kept_mean(base, [change(base, mask) for mask in drawn(shape, 0.5)]) is None


class Asks(nn.Module):
    def forward(self, x):
        return x if self.training else -x


class AsksInside(nn.Module):
    def forward(self, x):
        return [part * int(self.training) for part in x]


class Overrides(nn.Module):
    def train(self, mode=True):
        self.training = mode
        return self

    def forward(self, x):
        return x


@pytest.mark.parametrize(("module", "expected"), [(Asks(), True), (AsksInside(), True), (Overrides(), False), (nn.Dropout(), False), (nn.ReLU(), False)])
def test_reads_mode(module, expected):
    assert reads_mode(module) is expected
