"""The user's functions for a probe: what they return, and one sentence with a line for everything that can be wrong with them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from normadvisor.errors import TargetError
from normadvisor.targets.functions import load_batches, load_loss
from normadvisor.targets.parse import parse_target

MAKES = "it is called without arguments and returns a DataLoader or another iterable of batches: tensors, (inputs, targets) or dicts"
LOSS = "a loss is called as loss(output, target) or loss(output, batch) and returns a tensor"

CODE = """import asyncio
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

loader = DataLoader(TensorDataset(torch.arange(6.0)), batch_size=2)
number = 3

def data():
    return [torch.zeros(2, 3), torch.ones(2, 3)]

def generated(count=2):
    for index in range(count):
        yield torch.full((1,), float(index))

def nothing():
    pass

def empty():
    return []

def empty_generator():
    return iter(())

def one_tensor():
    return torch.zeros(2, 3)

def one_dict():
    return {"x": torch.zeros(2, 3)}

def a_number():
    return 3

def a_dataset():
    return TensorDataset(torch.zeros(4, 3))

def fails():
    raise LookupError("no images here")

def fails_later():
    yield torch.zeros(1)
    raise LookupError("second batch is broken")

def leaves():
    sys.exit(4)

def needs(folder):
    return []

async def waits():
    return []

class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(2)

def endless():
    return DataLoader(Endless(), batch_size=4)

def loss(output, target):
    return (output - target).square().mean()

class Scaled(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, output, target):
        return self.factor * (output - target).abs().mean()

built = Scaled(3.0)

def make_loss(factor):
    return Scaled(factor)

class Needy(nn.Module):
    def __init__(self, weights):
        super().__init__()
"""


@pytest.fixture
def named(tmp_path):
    (tmp_path / "data.py").write_text(CODE)
    return lambda name: parse_target(f"data.py:{name}", tmp_path)


def values(batches):
    return [batch.tolist() if isinstance(batch, torch.Tensor) else [part.tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data", [[[0.0, 0.0, 0.0]] * 2, [[1.0, 1.0, 1.0]] * 2]),
        ("generated", [[0.0], [1.0]]),
        ("generated(3)", [[0.0], [1.0], [2.0]]),
        ("generated(count=1)", [[0.0]]),
        ("loader", [[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]]]),
    ],
)
def test_what_a_function_returns_or_a_loader_holds(named, name, expected):
    batches = load_batches(named(name))
    assert values(batches) == expected


def test_looking_at_the_first_batch_takes_nothing_away(named):
    batches = load_batches(named("generated(3)"))
    assert batches.first().tolist() == batches.first().tolist() == [0.0]
    assert values(batches) == [[0.0], [1.0], [2.0]]


def test_what_never_ends_is_read_as_far_as_asked(named):
    batches = load_batches(named("endless"))
    assert [batch.shape for batch in itertools.islice(batches, 3)] == [(4, 2)] * 3


@pytest.mark.parametrize(
    ("name", "message", "hint", "line"),
    [
        ("nothing", "data.py:nothing returned nothing (None)", MAKES, 1),
        ("empty", "data.py:empty returned no batches: it is empty", MAKES, 1),
        ("empty_generator", "data.py:empty_generator gives no batches: it is empty", f"a generator can be iterated once only; {MAKES}", 1),
        ("one_tensor", "data.py:one_tensor returned one tensor rather than several batches", f"put it into a list: [batch]; {MAKES}", 1),
        ("one_dict", "data.py:one_dict returned a dict rather than several batches", f"put it into a list: [batch]; {MAKES}", 1),
        ("a_number", "data.py:a_number returned a value of type int, which cannot be iterated", MAKES, 1),
        ("number", "data.py:number is a value of type int, which cannot be iterated", MAKES, 1),
        ("number()", "data.py:number() is a value of type int, which cannot be called", MAKES, 1),
        ("a_dataset", "data.py:a_dataset returned a dataset, which holds samples rather than batches", "wrap it: torch.utils.data.DataLoader(dataset, batch_size=...)", 1),
        ("fails", "calling data.py:fails raised LookupError: no images here", None, 39),
        ("leaves", "calling data.py:leaves called sys.exit(4)", None, 46),
        ("needs", "data.py:needs cannot be called like this: missing a required argument: 'folder'", "it takes needs(folder); say its arguments as literals, or give them defaults", 48),
        ("waits", "data.py:waits is a coroutine", "make it a plain function", 1),
        ("gone", "data.py has no 'gone'", "did you mean 'one_dict'?", 1),
    ],
)
def test_what_is_wrong_with_a_function_is_one_sentence_with_a_line(named, name, message, hint, line):
    with pytest.raises(TargetError) as caught:
        load_batches(named(name)).first()
    error = caught.value
    assert (error.message, error.hint, error.location and error.location.line) == (message, hint, line)


def test_a_batch_that_cannot_be_read_names_its_line(named):
    batches = iter(load_batches(named("fails_later")))
    next(batches)
    with pytest.raises(TargetError) as caught:
        next(batches)
    assert (caught.value.message, caught.value.location.line) == (
        "reading a batch of data.py:fails_later raised LookupError: second batch is broken", 43,
    )


def test_a_file_that_was_imported_is_not_imported_again(tmp_path):
    (tmp_path / "counted.py").write_text("import builtins\nbuiltins.normadvisor_imports = getattr(builtins, 'normadvisor_imports', 0) + 1\n\ndef data():\n    return [1]\n")
    import builtins

    from normadvisor.targets.load import load

    try:
        load(parse_target("counted.py:data", tmp_path))
        assert list(load_batches(parse_target("counted.py:data", tmp_path))) == [1]
        assert builtins.normadvisor_imports == 1
    finally:
        del builtins.normadvisor_imports


@pytest.mark.parametrize(("name", "value"), [("loss", 4.0), ("Scaled", 2.0), ("Scaled(factor=2.0)", 4.0), ("built", 6.0), ("make_loss(5.0)", 10.0)])
def test_a_loss_is_a_function_a_module_its_class_or_a_call(named, name, value):
    loss = load_loss(named(name))
    assert loss(torch.tensor([3.0]), torch.tensor([1.0])).item() == value


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("number", "data.py:number is a value of type int, which cannot be called", LOSS),
        ("Needy", "building data.py:Needy raised TypeError: Needy.__init__() missing 1 required positional argument: 'weights'", None),
        ("make_loss()", "building data.py:make_loss() raised TypeError: make_loss() missing 1 required positional argument: 'factor'", None),
        ("Scale", "data.py has no 'Scale'", "did you mean 'Scaled'?"),
    ],
)
def test_what_is_no_loss_says_so(named, name, message, hint):
    with pytest.raises(TargetError) as caught:
        load_loss(named(name))
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_loss_of_torch_is_found_by_its_module(named, tmp_path):
    assert isinstance(load_loss(parse_target("torch.nn:CrossEntropyLoss(label_smoothing=0.1)", tmp_path)), nn.CrossEntropyLoss)


def test_functions_of_a_file_without_models_are_listed(tmp_path):
    (tmp_path / "losses.py").write_text("from math import sqrt\n\n\ndef near(output, target):\n    return 0\n\n\ndef far(output, target):\n    return 1\n")
    with pytest.raises(TargetError) as caught:
        load_loss(parse_target("losses.py:xyz", tmp_path))
    assert (caught.value.message, caught.value.hint) == ("losses.py has no 'xyz'", "functions found in it: near, far")
