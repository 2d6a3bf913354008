"""Classes that do more than normalize: what runs behind the norm is found by running them."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from normadvisor.rewrite.convert import convert_norms, with_activation
from normadvisor.rewrite.convert.followed import children_behind

X = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(0))


class Act(nn.BatchNorm2d):
    """As timm's: dropout, then an activation with a parameter."""

    def __init__(self, channels, drop=0.0):
        super().__init__(channels)
        self.act = nn.PReLU()
        self.drop = nn.Dropout(drop)

    def forward(self, input):  # noqa: A002
        return self.act(self.drop(super().forward(input)))


class Swapped(Act):
    """An activation for which the order matters, in an order that is not that of the attributes."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.Sigmoid()
        self.second = nn.Hardtanh(0.6, 0.7)

    def forward(self, input):  # noqa: A002
        return self.act(self.second(nn.BatchNorm2d.forward(self, input)))


class Before(Act):
    """An activation in front."""

    def forward(self, input):  # noqa: A002
        return super().forward(functional.relu(input))


class OnlyTraining(Act):
    """Something that happens while it trains."""

    def forward(self, input):  # noqa: A002
        output = super().forward(input)
        return output * 2 if self.training else output


class OwnStatistics(Act):
    """The same output, and statistics that move in another way."""

    def forward(self, input):  # noqa: A002
        output = super().forward(input)
        if self.training:
            self.running_mean.mul_(0.5)
        return output


class Plain(nn.BatchNorm2d):
    """The same in other words."""

    def forward(self, input):  # noqa: A002
        return super().forward(input.contiguous())


class Unused(nn.BatchNorm2d):
    """A child that does not run."""

    def __init__(self, channels):
        super().__init__(channels)
        self.spare = nn.Tanh()


class UnusedHere(Unused):
    """A child that does not run, in a forward of its own."""

    def forward(self, input):  # noqa: A002
        return super().forward(input)


class SyncAct(nn.SyncBatchNorm):
    """As timm's."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.SiLU()

    def forward(self, input):  # noqa: A002
        return self.act(super().forward(input))


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (nn.BatchNorm2d, ()),
        (Plain, ()),
        (Act, ("act", "drop")),
        (Swapped, ("second", "act")),
        (Before, None),
        (OnlyTraining, None),
        (OwnStatistics, None),
        (Unused, ()),
        (SyncAct, ("act",)),
        (nn.GroupNorm, None),
    ],
)
def test_found_by_running(cls, expected):
    layer = cls(1, 6) if cls is nn.GroupNorm else cls(6)
    found = children_behind(layer)
    # Children that do nothing here, as a dropout of zero, may stand anywhere.
    assert (found if found is None else tuple(name for name in found if name != "drop" or cls is Act)) == expected


def test_nothing_is_left_behind_by_looking():
    layer = Act(6, drop=0.5)
    layer.act.register_forward_hook(lambda *_: pytest.fail("a hook of the model's ran"))
    before, state = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    assert children_behind(layer) is not None
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_the_activation_stays_the_same_object():
    model = nn.Sequential(Act(6))
    with torch.no_grad():
        model[0].weight.uniform_()
    old, keys = model[0], list(model.state_dict())
    expected = old.act(functional.group_norm(X, 3, old.weight, old.bias))
    convert_norms(model, "group_norm")
    assert isinstance(model[0], nn.GroupNorm)
    assert model[0].act is old.act
    assert list(model.state_dict()) == [key for key in keys if "running" not in key and "tracked" not in key]
    torch.testing.assert_close(model(X), expected)


@pytest.mark.parametrize("to", ["group_norm", "layer_norm", "sync_batch_norm", "frozen_batch_norm", "instance_norm"])
@pytest.mark.parametrize("cls", [Act, Swapped, SyncAct])
def test_every_kind_holds_children_and_can_be_copied(to, cls):
    model = nn.Sequential(cls(6)).eval()
    expected = model(X)
    result = convert_norms(model, to)
    assert [name for name, _ in result.skipped] == (["0"] if (cls, to) == (SyncAct, "sync_batch_norm") else [])
    output = model(X)
    assert torch.equal(output, copy.deepcopy(model)(X))
    if not result.skipped:
        assert torch.equal(output, pickle.loads(pickle.dumps(model))(X))
    if to in {"sync_batch_norm", "frozen_batch_norm"}:
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def test_layers_alike_are_compared_once():
    known = {}
    for channels in (4, 8, 16):
        children_behind(Act(channels), known)
    assert len(known) == 1
    children_behind(Act(4, drop=0.5), known)
    assert len(known) == 2


def test_a_child_that_does_not_run_stays_where_it_is():
    new = with_activation(UnusedHere(6), nn.GroupNorm(2, 6))
    assert [name for name, _ in new.named_children()] == ["spare"]


def test_nothing_for_what_is_no_batch_norm():
    assert with_activation(nn.LayerNorm(6), nn.GroupNorm(2, 6)) is None
