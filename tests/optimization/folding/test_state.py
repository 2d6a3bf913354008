from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normadvisor.errors import NormAdvisorError
from normadvisor.optimization.candidate import StateStep
from normadvisor.optimization.folding.channels import UNTOUCHED, Laid, decode, encode
from normadvisor.optimization.folding.program import NotWritten, run, written
from normadvisor.optimization.folding.state import FoldMap
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

IMAGE = torch.randn(2, 3, 6, 5)
KEYS = ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
MISSING = f"the state has no 0.weight, {', '.join(KEYS)}"
SHAPES = ", ".join(f"{key} (4,)" for key in KEYS)


@given(st.lists(st.integers(UNTOUCHED, 5), min_size=1, max_size=24))
def test_channels_are_written_and_read(ids):
    told = json.loads(json.dumps(encode(torch.tensor(ids), 6)))
    assert decode(told, 6).tolist() == ids


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([0, 1, 2, 3], None),
        ([1, 2], {"first": 1, "count": 2, "repeats": 1, "tiles": 1}),
        ([0, 0, 1, 1, 0, 0, 1, 1], {"first": 0, "count": 2, "repeats": 2, "tiles": 2}),
        ([UNTOUCHED, 0, 1], [UNTOUCHED, 0, 1]),
    ],
)
def test_channels_are_told_briefly(ids, told):
    assert encode(torch.tensor(ids), 4) == told


def test_channels_that_a_norm_does_not_have_are_refused():
    with pytest.raises(ValueError, match="there are 2 channels"):
        decode([0, 2], 2)


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_channels_travel_through_reshapes_as_elements_do(order, axis, height, width):
    shape = [2, height, width, 2]
    shape[axis] = 5
    laid = Laid.of(shape, axis, 5)
    assert torch.equal(laid.permuted(order).full(), laid.full().permute(*order))
    flat = laid.reshaped((torch.Size(shape).numel(),))
    alone = torch.Size(shape).numel() == 5 or axis == 3
    assert flat is not None
    assert torch.equal(flat.full(), laid.full().flatten()) or alone


def stepped(helpers, model):
    steps = []
    for _ in helpers.found_in(model, IMAGE, apply=lambda candidate: steps.extend(candidate.apply(model, Journal()))):
        pass
    return FoldMap(tuple(steps))


def test_folds_a_later_checkpoint_of_a_wrapped_model(helpers):
    def make():
        return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()

    folds = stepped(helpers, make())
    later = helpers.randomised(make())
    state = OrderedDict((f"module.{key}", value) for key, value in later.state_dict().items()) | {"epoch": torch.tensor(3)}
    found = folds.apply(state, prefix="module.")
    assert list(found) == ["module.0.weight", "epoch", "module.0.bias"]
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity())
    fresh.load_state_dict({key.removeprefix("module."): value for key, value in found.items() if key != "epoch"})
    assert torch.allclose(fresh(IMAGE), later(IMAGE), atol=1e-5)


def test_what_is_missing_is_named(helpers):
    folds = stepped(helpers, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval())
    with pytest.raises(KeyError, match=r"the state has no 0\.bias"):
        folds.apply(
            {
                "0.weight": torch.zeros(4, 3, 3, 3),
                **{f"1.{name}": torch.ones(4) for name in ("weight", "bias", "running_mean", "running_var")},
            }
        )


def test_a_state_of_something_else_says_what_it_is(helpers):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    state = dict(model.state_dict())
    folds = stepped(helpers, model)
    other = "it is that of another model"
    for values, message, hint in (
        (model, "a value of type Sequential is no state", "pass a state_dict: model.state_dict(), or what torch.load gave"),
        ({f"module.{key}": value for key, value in state.items()}, MISSING, "its keys have a prefix: apply(state_dict, 'module.')"),
        (
            folds.apply(state),
            "the state has no 1.weight, 1.bias, 1.running_mean, 1.running_var",
            f"{other}, or of one that was optimized already",
        ),
        (
            {**state, "0.weight": torch.ones(7, 3, 3, 3)},
            f"values of the state do not fit one another: 0.weight (7, 3, 3, 3), {SHAPES}",
            other,
        ),
    ):
        with pytest.raises(NormAdvisorError) as refusal:
            folds.apply(values)
        assert (refusal.value.message, refusal.value.hint) == (message, hint)


def test_a_checkpoint_that_cannot_be_folded_is_refused(helpers):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    folds = stepped(helpers, model)
    with pytest.raises(CannotChange, match="the running variance of the norm has entries below zero"):
        folds.apply({**state, "1.running_var": torch.full((4,), -1.0)})


@pytest.mark.parametrize(
    "data",
    [
        {}, {"version": 9, "steps": []}, {"version": 1, "steps": [{"kind": "exec"}]}, {"version": 1, "steps": 3},
        {"version": 1, "steps": [{"kind": "drop", "into": [1], "sources": [], "dropped": [], "options": {}}]},
    ],
)  # fmt: skip
def test_what_is_no_fold_map_is_refused(data):
    with pytest.raises(ValueError, match="fold map"):
        FoldMap.from_dict(data)


def test_a_map_of_names_alone_is_a_key_map():
    rename = StateStep(
        kind="rename", into=("b",), sources=("a",), dropped=("a",), options={"roles": {"a": "a"}, "writes": {"a": ["b"]}},
    )  # fmt: skip
    folds = FoldMap((rename, StateStep(kind="drop", into=(), sources=(), dropped=("c",))))
    assert folds.key_map() == KeyMap(renamed={"a": "b"}, dropped=("c",))
    assert {key: value.tolist() for key, value in folds.apply({"a": torch.ones(1), "c": torch.ones(1)}).items()} == {"b": [1.0]}


def test_a_map_that_changes_values_is_no_key_map(helpers):
    assert stepped(helpers, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()).key_map() is None


def test_programs_are_data():
    values = {"g": torch.rand(4, 1), "v": torch.randn(4, 5)}

    def compute(held):
        return held["g"] * held["v"] / held["v"].norm(2, 1, keepdim=True)

    steps = json.loads(json.dumps(written(compute, values)))
    assert torch.allclose(run(steps, values), compute(values))


@pytest.mark.parametrize(
    "compute",
    [lambda held: held["v"] + torch.rand(5), lambda held: held["v"].fft.fft() if hasattr(held["v"], "fft") else torch.fft.fft(held["v"]).real,
     lambda held: held["v"] * float(held["v"].sum())],
)  # fmt: skip
def test_what_is_no_plain_operation_is_not_written(compute):
    with pytest.raises(NotWritten):
        written(compute, {"v": torch.randn(5)})


@pytest.mark.parametrize("name", ["from_file.default", "set_.source_Storage", "os.system", "rand.default"])
def test_programs_run_known_operations_only(name):
    with pytest.raises(KeyError, match=name.partition(".")[0]):
        run([[name, [], {}]], {"v": torch.ones(1)})
