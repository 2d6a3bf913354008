"""Maps of keys: applied, joined, written and read."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normadvisor.rewrite.keys import Fold, KeyMap


def _state(**values):
    return {key.replace("__", "."): torch.tensor(value) for key, value in values.items()}


def _plain(state):
    return {key: value.tolist() for key, value in state.items()}


def test_an_empty_map_changes_nothing():
    state = _state(conv__weight=[1.0], conv__bias=[2.0])
    assert not KeyMap()
    assert KeyMap().apply(state) == state
    assert str(KeyMap()) == ""


def test_everything_at_once():
    keys = KeyMap(
        renamed={"act.weight": "bn.weight", "bn.weight": "act.weight"},
        dropped=("conv.bias",),
        added=("new.weight",),
        folded=(Fold("conv.bias", "bn.running_mean"),),
        copied={"bn_2.running_mean": "bn.running_mean"},
    )
    state = _state(conv__bias=[1.0, 2.0], act__weight=[3.0], bn__weight=[4.0], bn__running_mean=[5.0, 5.0])
    before = _plain(state)
    assert _plain(keys.apply(state)) == {
        "bn.weight": [3.0],
        "act.weight": [4.0],
        "bn.running_mean": [4.0, 3.0],
        "bn_2.running_mean": [5.0, 5.0],
    }
    assert _plain(state) == before
    assert str(keys).splitlines() == [
        "bn.running_mean -= conv.bias",
        "act.weight -> bn.weight",
        "bn.weight -> act.weight",
        "bn_2.running_mean = bn.running_mean (copied)",
        "conv.bias (dropped)",
        "new.weight (new)",
    ]


@pytest.mark.parametrize("into", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_folds_keep_the_dtype_and_round_once(source, into):
    bias, mean = torch.rand(7, dtype=source), torch.rand(7, dtype=into)
    folded = KeyMap(folded=(Fold("b", "m"),), dropped=("b",)).apply({"b": bias, "m": mean})["m"]
    assert folded.dtype == into
    wide = torch.promote_types(source, into)
    assert torch.equal(folded, (mean.to(wide) - bias.to(wide)).to(into))


def test_folds_follow_repeated_channels_and_the_shape_of_what_takes_them_up():
    bias = torch.tensor([1.0, 2.0])
    fold = Fold("b", "m", "add", repeats=2, tiles=2)
    assert fold.folded(bias, torch.zeros(8)).tolist() == [1, 1, 2, 2, 1, 1, 2, 2]
    assert Fold("b", "m").folded(bias, torch.zeros(1, 2, 1, 1)).tolist() == [[[[-1.0]], [[-2.0]]]]
    assert str(KeyMap(folded=(fold,))) == "m += b (every entry 2 times, 2 times over)"


@pytest.mark.parametrize("wrong", [{"how": "multiply"}, {"repeats": 0}, {"tiles": 0}])
def test_a_fold_that_nothing_could_do_is_refused(wrong):
    with pytest.raises(ValueError, match="no such fold"):
        Fold("a", "b", **wrong)


def test_a_value_is_never_lost_silently():
    keys = KeyMap(folded=(Fold("conv.bias", "bn.running_mean"),), dropped=("conv.bias",))
    with pytest.raises(KeyError, match=r"net\.conv\.bias cannot be folded: the state has no net\.bn\.running_mean"):
        keys.apply({"net.conv.bias": torch.ones(1)}, prefix="net.")
    # A checkpoint that was saved after the change has no bias.
    after = {"bn.running_mean": torch.ones(1)}
    assert keys.apply(after) == after


def test_prefixes_and_metadata_go_along():
    state = OrderedDict(_state(module__bn__weight=[1.0]))
    state._metadata = OrderedDict({"": {"version": 1}, "module.bn": {"version": 2}})
    result = KeyMap(renamed={"bn.weight": "act.weight"}).apply(state, prefix="module.")
    assert list(result) == ["module.act.weight"]
    assert result._metadata == {"": {"version": 1}, "module.act": {"version": 2}}


def test_names_forth_and_back():
    keys = KeyMap(renamed={"a": "b"}, dropped=("c",), added=("d",), copied={"e": "a"})
    assert [keys.new_name(key) for key in ("a", "c", "x")] == ["b", None, "x"]
    assert [keys.old_name(key) for key in ("b", "d", "e", "x")] == ["a", None, None, "x"]


def test_written_and_read(tmp_path):
    keys = KeyMap(renamed={"a": "ä"}, dropped=("c",), added=("d",), folded=(Fold("f", "g", repeats=3),), copied={"e": "a"})
    assert KeyMap.from_dict(keys.to_dict()) == keys
    keys.save(tmp_path / "keys.json")
    assert KeyMap.load(tmp_path / "keys.json") == keys


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"version": 2}', '{"version": 1, "renamed": []}',
        '{"version": 1, "renamed": {}, "dropped": "abc", "added": [], "folded": [], "copied": {}}',
        '{"version": 1, "renamed": {"a": 1}, "dropped": [], "added": [], "folded": [], "copied": {}}',
        '{"version": 1, "renamed": {}, "dropped": [], "added": [], "folded": [{"source": "a"}], "copied": {}}',
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="holds no key map"):
        KeyMap.load(path)


def test_joined_maps():
    swapped = KeyMap(renamed={"0.weight": "1.weight", "1.weight": "0.weight"})
    assert swapped.then(swapped) == KeyMap()
    dropped = swapped.then(KeyMap(dropped=("0.weight",)))
    assert dropped == KeyMap(renamed={"0.weight": "1.weight"}, dropped=("1.weight",))
    wrapped = KeyMap(added=("n.weight",)).then(KeyMap(renamed={"n.weight": "n.0.weight"}))
    assert wrapped == KeyMap(added=("n.0.weight",))


def test_a_fold_into_what_leaves_later_is_left_out():
    folded = KeyMap(folded=(Fold("conv.bias", "bn.running_mean"),), dropped=("conv.bias",))
    assert folded.then(KeyMap(dropped=("bn.running_mean",))) == KeyMap(dropped=("conv.bias", "bn.running_mean"))


def test_folds_around_a_copy_reach_the_right_layers():
    separate = KeyMap(copied={"bn_2.mean": "bn.mean"})
    first, second = (
        KeyMap(folded=(Fold(f"conv{n}.bias", into),), dropped=(f"conv{n}.bias",)) for n, into in ((1, "bn.mean"), (2, "bn_2.mean"))
    )
    state = _state(conv1__bias=[1.0], conv2__bias=[2.0], bn__mean=[10.0])
    steps = first.apply(separate.apply(state))
    both = separate.then(first)
    assert _plain(both.apply(state)) == _plain(steps) == {"conv2.bias": [2.0], "bn.mean": [9.0], "bn_2.mean": [10.0]}
    assert _plain(both.then(second).apply(state)) == {"bn.mean": [9.0], "bn_2.mean": [8.0]}
    # Folded before the copy was made: both have it.
    assert _plain(first.then(separate).apply(state)) == {"conv2.bias": [2.0], "bn.mean": [9.0], "bn_2.mean": [9.0]}


_NAMES = ["b0", "b1", "b2", "m0", "m1", "m2"]
"""Biases, which are folded, and means, which they are folded into."""


@st.composite
def _maps(draw, keys):
    """A map that fits the keys, and the keys it leads to; a key keeps its first letter."""
    biases, means = ([key for key in keys if key[0] == kind] for kind in "bm")
    dropped = draw(st.lists(st.sampled_from(keys), unique=True, max_size=2)) if keys else []
    left = [key for key in means if key not in dropped]
    folded = tuple(
        Fold(source, draw(st.sampled_from(left)), draw(st.sampled_from(["add", "subtract"])))
        for source in dropped
        if left and source in biases
    )
    renamed, ends, copied = {}, [], {}
    for kind, group in (("b", biases), ("m", means)):
        stay = [key for key in group if key not in dropped]
        free = (name for name in (f"{kind}{n}" for n in range(99)) if name not in keys)
        names = draw(st.permutations([*stay, *(next(free) for _ in range(2))]))[: len(stay)]
        renamed |= {old: new for old, new in zip(stay, names, strict=True) if old != new}
        ends += names
        copied |= {next(free): old for old in draw(st.lists(st.sampled_from(stay), unique=True, max_size=2))} if stay else {}
    added = tuple(f"m{n}" for n in range(200, 200 + draw(st.integers(0, 1))) if f"m{n}" not in keys)
    return KeyMap(renamed=renamed, dropped=tuple(dropped), added=added, folded=folded, copied=copied), [*ends, *copied]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_the_map_of_both_does_what_one_after_the_other_does(data):
    first, middle = data.draw(_maps(_NAMES))
    second, _ = data.draw(_maps(middle))
    state = {name: torch.tensor([float(10**index)], dtype=torch.float64) for index, name in enumerate(_NAMES)}
    assert _plain(first.then(second).apply(state)) == _plain(second.apply(first.apply(state)))
    assert KeyMap.from_dict(first.then(second).to_dict()) == first.then(second)


def test_works_without_torch():
    code = "import sys; import normadvisor.rewrite.keys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_folded_into_a_dropped_value_is_left_out():
    fold = Fold("conv.bias", "bn.running_mean")
    assert KeyMap(dropped=("conv.bias", "bn.running_mean"), folded=(fold,)) == KeyMap(dropped=("conv.bias", "bn.running_mean"))
