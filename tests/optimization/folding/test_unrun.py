"""What the recorded run does not show: code that other inputs or other callers reach."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate
from normadvisor.optimization.finders import find
from normadvisor.rewrite.model.journal import Journal

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


class Switch(Base):
    def __init__(self):
        super().__init__(raw=False)

    def forward(self, x):
        y = self.first(x)
        return (self.norm(y), y) if self.raw else self.norm(y)


class Configured(Base):
    def __init__(self):
        super().__init__(config=SimpleNamespace(features=False))

    def forward(self, x):
        y, found = self.first(x), ()
        if self.config.features:
            found += (y,)
        return (self.norm(y), *found)


class Counted(Base):
    def __init__(self):
        super().__init__(calls=0)

    def forward(self, x):
        self.calls += 1
        y = self.first(x)
        if self.calls > 1000:
            y = y * 2
        return self.norm(y)


class Upgraded(Base):
    """With a SiLU that ``optimize`` replaces first, so that the forward is another one when it looks for folds."""

    def forward(self, x, weights=None):
        y = self.first(x)
        if weights is not None:
            y = y * weights
        y = self.norm(y)
        return y * torch.sigmoid(y)


def test_a_changed_forward_is_read_as_it_was_written(helpers):
    model, x = Upgraded().eval(), torch.randn(2, 3, 8, 8)
    setting = helpers.setting_of((x,))
    graph = trace(model, setting.inputs, target="", sites={}, mode="eval")
    (silu,) = find(model, graph, setting, "upgrade", ("NA705",)).candidates
    silu.apply(model, Journal())
    assert type(model) is not Upgraded
    found = [(each.modules, getattr(each, "reason", "")) for each in helpers.found_in(model, x, stages=("fold",))]
    assert [(modules, reason.partition(" of ")[2]) for modules, reason in found] == [
        (("norm", "first"), "test_unrun.py, which did not run with these inputs, reads what first gives")
    ]


REFUSED = [
    (Counted, "reads what first gives"),
    (ByWidth, "reads what first gives"),
    (OnOneLine, "reads what first gives"),
    (Masked, "reads what first gives"),
    (Chosen, "reads what first gives"),
    (Alone, "calls first without norm"),
    (Looped, "reads what first gives"),
    (Early, "reads what first gives"),
    (Switch, "reads what first gives"),
    (Configured, "reads what first gives"),
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
        if self.between is not None:
            y = self.between(y)
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


class OtherWay(Base):
    """A switch that leads to the same layers in another way, such as by checkpoints."""

    def __init__(self):
        super().__init__(checkpoints=False)

    def begin(self, x):
        if self.checkpoints:
            return self.first(x.contiguous())
        return self.first(x)

    def forward(self, x):
        return self.norm(self.begin(x))


class OtherHalf(Base):
    """What runs instead reads a value of the same name, which is another."""

    def __init__(self):
        super().__init__(wide=True)

    def forward(self, x):
        if self.wide:
            x = self.first(x)
        else:
            x = x.relu()
            x = self.first(x)
        return self.norm(x)


class InLoop(Base):
    """Each layer may be called in another way, whichever it is."""

    def __init__(self):
        super().__init__(checkpoints=False)

    def forward(self, x):
        for layer in (self.first, self.norm):
            if self.checkpoints:
                x = x.contiguous()
                x = layer(x)
            else:
                x = layer(x)
        return x


FOLDED = [Fixed(between=None), OtherWay(), OtherHalf(), InLoop(), ShapeOnly(), Both(), Behind()]


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


class Collects(nn.Module):
    """As timm's ``forward_intermediates`` of GhostNet: a method of its own reads the value ahead of the norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.last, self.last_norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.last_norm(self.last(self.norm(self.stem(x)).relu()))

    def intermediates(self, x, places=(0, 1)):
        found = []
        x = self.stem(x)
        if 0 in places:
            found.append(x)
        x = self.norm(x).relu()
        y = self.last_norm(self.last(x))
        if 1 in places:
            found.append(x)
        return found, y, y.shape


def test_a_method_that_reads_the_value_between_is_told(helpers):
    found = [each for each in helpers.found_in(Collects().eval(), torch.randn(2, 3, 8, 8)) if isinstance(each, Candidate)]
    told = "intermediates by itself gives something else afterwards: the norm behind it is in stem"
    assert {each.modules: each.remark for each in found} == {("stem", "norm"): told, ("last", "last_norm"): ""}


class Chooses(nn.Module):
    """One of several norms, or of several layers ahead of one norm, or one of several blocks that hold both."""

    def __init__(self, layers, norms):
        super().__init__()
        self.layers, self.norms = layers, norms

    def forward(self, x, place=0):
        layer = self.layers[place] if isinstance(self.layers, nn.ModuleList) else self.layers
        norm = self.norms["ab"[place]] if isinstance(self.norms, nn.ModuleDict) else self.norms
        return norm(layer(x))


def _norms():
    return nn.ModuleDict({"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)})


def _layers():
    return nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Chooses(nn.Conv2d(3, 4, 3), _norms()), "norms.b, which did not run with these inputs, may take the place of norms.a"),
        (Chooses(_layers(), nn.BatchNorm2d(4)), "layers.1, which did not run with these inputs, may take the place of layers.0"),
    ],
)
def test_one_of_several_that_are_chosen_from_is_not_folded(fold, model, reason):
    folded = fold(model, torch.randn(2, 3, 8, 8))
    assert (folded.found, [told for _, told in folded.refused]) == ([], [reason])


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))

    def forward(self, x, place=0):
        return self.blocks[place](x)


def test_blocks_that_hold_both_may_be_chosen_from(fold):
    assert fold(Blocks(), torch.randn(2, 3, 8, 8)).found == [("conv2d + batch_norm", "conv2d", ("blocks.0.0", "blocks.0.1"))]


class Keeps(Base):
    def __init__(self, how):
        super().__init__(how=how)
        self.found = []

    def forward(self, x):
        y = self.first(x)
        if self.how == "attribute":
            self.feature = y
        elif self.how == "list":
            self.found.append(y)
        elif self.how == "norm":
            return self.first_norm(y)
        return self.norm(y)

    def first_norm(self, y):
        self.feature = y = self.norm(y)
        return y


@pytest.mark.parametrize(("how", "place"), [("attribute", "feature of the model"), ("list", "found of the model")])
def test_a_value_that_is_kept_for_others_is_not_folded(fold, how, place):
    folded = fold(Keeps(how), torch.randn(2, 3, 8, 8))
    assert folded.found == []
    assert folded.refused == [(("norm", "first"), f"{place} holds what first gives once the model has run")]


def test_what_the_norm_gives_may_be_kept(fold):
    assert fold(Keeps("norm"), torch.randn(2, 3, 8, 8)).found == [("conv2d + batch_norm", "conv2d", ("first", "norm"))]
