"""What of a batch goes where, and how batches are read."""

import itertools
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from normadvisor.errors import InputError, ProbeError
from normadvisor.probe.running.batches import GivenBatches, split_batch

X, Y, Z = torch.randn(4, 6), torch.arange(4), torch.randn(4, 2)


def model(signature):
    """A module whose forward has the given signature."""
    scope = {"nn": nn}
    exec(f"class Model(nn.Module):\n    def forward({signature}):\n        return 0", scope)
    return scope["Model"]()


Pair = namedtuple("Pair", "x y")  # noqa: PYI024
Sample = namedtuple("Sample", "ids label")  # noqa: PYI024


@dataclass
class Data:
    x: torch.Tensor
    label: torch.Tensor


CASES = {
    "a tensor": ("self, x", X, ((X,), {}, None)),
    "input and target": ("self, x", (X, Y), ((X,), {}, Y)),
    "as a list": ("self, x", [X, Y], ((X,), {}, Y)),
    "one part": ("self, x", (X,), ((X,), {}, None)),
    "two inputs": ("self, x1, x2", (X, Z, Y), ((X, Z), {}, Y)),
    "two inputs without target": ("self, x1, x2", (X, Z), ((X, Z), {}, None)),
    "an optional input": ("self, x, mask=None", (X, Z, Y), ((X, Z), {}, Y)),
    "an optional input left out": ("self, x, mask=None", (X, Y), ((X,), {}, Y)),
    "a flag is no input": ("self, x, verbose=False", (X, Y, Z), ((X,), {}, (Y, Z))),
    "targets that forward takes": ("self, idx, targets=None", (X, Y), ((X, Y), {}, None)),
    "any number of inputs": ("self, *xs", (X, Z, Y), ((X, Z), {}, Y)),
    "a dictionary": ("self, x, mask=None", {"x": X, "mask": Z, "label": Y}, ((), {"x": X, "mask": Z}, Y)),
    "labels that forward takes": ("self, x, labels=None", {"x": X, "labels": Y}, ((), {"x": X, "labels": Y}, None)),
    "entries that forward does not take": ("self, x", {"x": X, "path": ["a"] * 4}, ((), {"x": X}, None)),
    "an entry called otherwise": ("self, inputs", {"image": X, "label": Y}, ((X,), {}, Y)),
    "a dictionary as a whole": ("self, batch", {"u": X, "v": Z}, (({"u": X, "v": Z},), {}, None)),
    "keywords": ("self, **kwargs", {"u": X, "target": Y}, ((), {"u": X}, Y)),
    "a user's dictionary": ("self, x", UserDict({"x": X}), None),
    "an ordered dictionary": ("self, x", OrderedDict(x=X, y=Y), ((), {"x": X}, Y)),
    "a dataclass": ("self, x", Data(X, Y), ((), {"x": X}, Y)),
    "a named tuple": ("self, x", Pair(X, Y), ((), {"x": X}, Y)),
    "a named tuple of other names": ("self, x", Sample(X, Y), ((X,), {}, Y)),
}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one is other
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("case", [name for name, (_, _, expected) in CASES.items() if expected])
def test_parts_of_a_batch_go_where_forward_wants_them(case):
    signature, value, expected = CASES[case]
    found = split_batch(value, model(signature))
    assert same((found.args, dict(found.kwargs), found.target), expected)
    assert (found.size, found.whole is value) == (4, True)


def test_mappings_of_other_kinds_are_understood():
    found = split_batch(UserDict({"x": X, "labels": Y}), model("self, x"))
    assert same((found.args, dict(found.kwargs), found.target), ((), {"x": X}, Y))


def test_a_batch_that_lacks_an_argument_is_refused():
    with pytest.raises(InputError) as caught:
        split_batch({"u": X, "v": Z}, model("self, u, w"))
    assert caught.value.message == "the batch holds u, v; Model.forward needs w"
    with pytest.raises(InputError) as caught:
        split_batch((X,), model("self, u, w"))
    assert caught.value.message == "a batch of one part cannot fill the 2 arguments of Model.forward (u, w)"


def given(batches, wanted=3, size=None, dtype=None):
    return GivenBatches(batches, nn.Linear(6, 4), wanted=wanted, device=torch.device("cpu"), dtype=dtype, size=size)


def test_endless_data_is_read_as_far_as_needed_and_once():
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield torch.full((4, 6), float(number)), Y

    source = given(endless())
    assert read == [0, 1, 2]
    assert [float(source.batch(index).args[0][0, 0]) for index in range(5)] == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert (source.count, source.real, [source.batch(index).key for index in range(4)]) == (3, True, [0, 1, 2, 0])


def test_a_loader_is_read():
    source = given(DataLoader(TensorDataset(torch.randn(10, 6), torch.arange(10)), batch_size=4))
    assert [source.batch(index).size for index in range(3)] == [4, 4, 2]


def test_no_batch_is_refused():
    with pytest.raises(ProbeError, match="the data holds no batch"):
        given([])


def test_data_that_fails_is_told_with_its_line():
    def broken():
        yield X, Y
        raise ValueError("no such file")

    with pytest.raises(ProbeError) as caught:
        given(broken())
    assert caught.value.message == "batch 2 of the data could not be read: ValueError: no such file"
    assert caught.value.location.path == __file__


def test_batches_are_cut_to_the_size_that_is_wanted():
    source = given([(X, Y)], size=3)
    found = source.batch(0)
    assert (found.size, found.args[0].shape, found.target.tolist()) == (3, (3, 6), [0, 1, 2])
    source.cut(2)
    assert source.batch(0).size == 2


def test_batches_that_are_too_small_are_said():
    assert given([(X, Y)], size=9).notes == ["batches of the data hold 4 samples: the batch size of 9 that was asked for is not reached"]


def test_real_numbers_take_the_dtype_of_the_model_and_ids_do_not():
    found = given([(X, Y)], dtype=torch.bfloat16).batch(0)
    assert (found.args[0].dtype, found.target.dtype) == (torch.bfloat16, torch.int64)


def test_numpy_arrays_become_tensors_and_it_is_said(probe):
    numpy = pytest.importorskip("numpy")
    data = [(numpy.ones((4, 6)), numpy.arange(4) % 3), {"x": [numpy.float32(2) * numpy.ones(3, numpy.float32)]}]
    source = GivenBatches(data, nn.Linear(6, 3), wanted=2, device=torch.device("cpu"), dtype=None, size=None)
    batch = source.batch(0)
    assert [(tuple(tensor.shape), tensor.dtype) for tensor in (batch.args[0], batch.target)] == [((4, 6), torch.float32), ((4,), torch.int64)]
    assert torch.equal(source.batch(1).args[0][0], torch.full((3,), 2.0))
    measured = probe(nn.Linear(6, 3), batches=data[:1])
    assert measured.setup["loss"] == "cross_entropy"
    assert "numpy arrays of the data were made tensors" in measured.notes


def test_a_tuple_of_inputs_and_targets_is_one_batch(probe):
    measured = probe(nn.Linear(6, 3), batches=(torch.randn(16, 6), torch.arange(16) % 3))
    assert (measured.setup["batch_size"], measured.setup["batches"], measured.setup["loss"]) == (16, 1, "cross_entropy")
    assert "the tuple of tensors was read as one batch of input and target" in measured.notes
    several = probe(nn.Linear(6, 6), batches=(torch.randn(16, 6), torch.randn(16, 6)))
    assert several.setup["batches"] == 2


class _Two(nn.Module):
    def forward(self, first, second):
        return first * second


class _Pair(nn.Module):
    def forward(self, pair):
        return pair[0] * pair[1]


@pytest.mark.parametrize("kind", [tuple, list])
def test_inputs_in_a_tuple_of_their_own_are_the_arguments_that_forward_requires(kind):
    first, second, target = torch.ones(3, 2), torch.ones(3, 2), torch.zeros(3)
    batch = split_batch(kind((kind((first, second)), target)), _Two())
    assert len(batch.args) == 2
    assert batch.args[0] is first
    assert batch.args[1] is second
    assert batch.target is target
    assert batch.size == 3


def test_a_tuple_stays_the_one_argument_of_a_model_that_takes_one():
    pair, target = (torch.ones(3, 2), torch.ones(3, 2)), torch.zeros(3)
    batch = split_batch((pair, target), _Pair())
    assert len(batch.args) == 1
    assert batch.args[0] is pair
    assert batch.target is target
