"""What the recorded run does not show: code that other inputs or other callers reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.optimization.candidate import Candidate

FILE = "of test_unrun.py, which did not run with these inputs,"


class Base(nn.Module):
    def __init__(self, **flags):
        super().__init__()
        self.first, self.norm, self.other = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.__dict__.update(flags)


class ByWidth(Base):
    def forward(self, x):
        y = self.first(x)
        if y.shape[-1] > 20:
            return self.other(y)
        return self.norm(y)


class OnOneLine(Base):
    def forward(self, x, raw=False):
        y = self.first(x)
        if raw: return y  # fmt: skip  # noqa: E701
        return self.norm(y)


class Masked(Base):
    def forward(self, x, weights=None):
        y = self.first(x)
        if weights is not None:
            y = y * weights
        return self.norm(y)


class Chosen(Base):
    def forward(self, x):
        y = self.first(x)
        return self.norm(y) if len(x) > 1 else y


class Alone(Base):
    def forward(self, x, features=False):
        if features:
            return self.first(x)
        return self.norm(self.first(x))


class Looped(Base):
    def forward(self, x, collect=None):
        for layer in (self.first, self.norm):
            x = layer(x)
            if collect is not None:
                collect.append(x)
        return x


class Extracting(Base):
    def start(self, x):
        return self.first(x)

    def embed(self, x):
        return self.start(x)

    def forward(self, x):
        return self.norm(self.start(x))


class Early(Base):
    def forward(self, x):
        y = self.first(x)
        if y.shape[-1] <= 20:
            return self.norm(y)
        return y


REFUSED = [
    (ByWidth, "reads what first gives"),
    (OnOneLine, "reads what first gives"),
    (Masked, "reads what first gives"),
    (Chosen, "reads what first gives"),
    (Alone, "calls first without norm"),
    (Looped, "reads what first gives"),
    (Early, "reads what first gives"),
]


@pytest.mark.parametrize(("model", "words"), REFUSED, ids=[model.__name__ for model, _ in REFUSED])
def test_a_value_that_other_code_reads_is_not_folded(fold, model, words):
    folded = fold(model(), torch.randn(2, 3, 8, 8))
    ((modules, reason),) = folded.refused
    assert (folded.found, modules) == ([], ("norm", "first"))
    assert reason.startswith("line ")
    assert reason.endswith(f"{FILE} {words}")


def test_a_method_that_others_call_is_looked_at(fold):
    folded = fold(Extracting(), torch.randn(2, 3, 8, 8))
    assert folded.found == []
    assert folded.refused == [(("norm", "first"), "Extracting.embed, which did not run, calls first without norm")]


class Fixed(Base):
    def forward(self, x):
        y = self.first(x)
        if self.raw:
            return y
        if self.training or torch.jit.is_scripting():
            y = y * 2
        return self.norm(y)


class ShapeOnly(Base):
    def forward(self, x):
        y = self.first(x)
        if y.shape[-1] > 20:
            x = x + len(y.shape)
        return self.norm(y)


class Both(Base):
    def forward(self, x):
        return self.norm(self.first(x))

    def with_middle(self, x):
        y = self.first(x)
        return y.mean(), self.norm(y)


class Behind(Base):
    def forward(self, x, scale=None):
        y = self.norm(self.first(x))
        if scale is not None:
            y = y * scale
        return y


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Masked()

    def forward(self, x):
        return self.inner(x)


FOLDED = [Fixed(raw=False), ShapeOnly(), Both(), Behind()]


@pytest.mark.parametrize("model", FOLDED, ids=[type(model).__name__ for model in FOLDED])
def test_what_cannot_reach_the_value_is_no_obstacle(fold, model):
    folded = fold(model, torch.randn(2, 3, 8, 8))
    assert folded.found == [("conv2d + batch_norm", "conv2d", ("first", "norm"))]
    assert folded.refused == []


def test_an_argument_that_no_caller_in_the_model_gives_stays_at_its_default(fold):
    assert fold(Outer(), torch.randn(2, 3, 8, 8)).found == [("conv2d + batch_norm", "conv2d", ("inner.first", "inner.norm"))]


class Ahead(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 4)

    def forward(self, x, embed=False):
        y = self.norm(x)
        if embed:
            return y
        return self.last(y)


def test_a_norm_ahead_of_a_layer_is_looked_at_as_well(fold):
    folded = fold(Ahead(), torch.randn(5, 6))
    ((modules, reason),) = folded.refused
    assert (folded.found, modules) == ([], ("norm", "last"))
    assert reason.endswith(f"{FILE} reads what norm gives")


class Parallel(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.wide(x)
        if x.shape[-1] > 20:
            return y
        return y + self.narrow(x)


def test_a_branch_that_is_used_alone_elsewhere_is_not_merged(fold):
    folded = fold(Parallel(), torch.randn(2, 4, 8, 8))
    ((modules, reason),) = folded.refused
    assert (folded.found, modules) == ([], ("wide", "narrow"))
    assert reason.endswith(f"{FILE} reads what wide gives")


class Headed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8))
        self.top = nn.Linear(8, 3)

    def forward(self, x):
        return self.top(self.body(x))


def test_a_part_that_gives_something_else_by_itself_is_told(helpers):
    found = [each for each in helpers.found_in(Headed().eval(), torch.randn(4, 6)) if isinstance(each, Candidate)]
    assert [each.remark for each in found] == ["body by itself gives something else afterwards: its norm is in top"]
