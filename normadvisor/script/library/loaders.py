"""Data sets and loaders: how many samples a batch holds, and the last one, where literals say so."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import gathered, integer, plain_data, rows_of
from normadvisor.script.library.registry import attribute, built, extern, iterated, method, prefix
from normadvisor.script.library.syntax import argument, written_call
from normadvisor.script.values import NOTHING, Arguments, Const, Data, Place, Ref, Thing, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["LENGTHS", "length_of", "loader"]

LENGTHS: dict[str, tuple[int, int]] = {
    "MNIST": (60_000, 10_000),
    "FashionMNIST": (60_000, 10_000),
    "KMNIST": (60_000, 10_000),
    "CIFAR10": (50_000, 10_000),
    "CIFAR100": (50_000, 10_000),
    "USPS": (7_291, 2_007),
}
"""Samples for training and for testing of data sets whose split is chosen by ``train=``."""
_SPLITS: dict[str, dict[str, int]] = {
    "SVHN": {"train": 73_257, "test": 26_032, "extra": 531_131},
    "STL10": {"train": 5_000, "test": 8_000, "unlabeled": 100_000, "train+unlabeled": 105_000},
    "Flowers102": {"train": 1_020, "val": 1_020, "test": 6_149},
    "OxfordIIITPet": {"trainval": 3_680, "test": 3_669},
    "FGVCAircraft": {"train": 3_334, "val": 3_333, "trainval": 6_667, "test": 3_333},
    "DTD": {"train": 1_880, "val": 1_880, "test": 1_880},
}
_SPLIT_DEFAULT = {"OxfordIIITPet": "trainval", "FGVCAircraft": "trainval"}
_LOADER_NAME = re.compile(r"(loader|dataloader|(^|_)dl)s?$|^(train|valid|val|test|eval)_?(iter|batches)$", re.IGNORECASE)
_LOADERS = ("torch.utils.data.DataLoader", "torchdata.stateful_dataloader.StatefulDataLoader", "monai.data.DataLoader")


def length_of(machine: Machine, value: Value | None) -> int | None:
    """Samples of a data set, where they are known."""
    found = {thing.facts.get("length") if (thing := machine.thing(member)) is not None else None for member in members(value or NOTHING)}
    length = found.pop() if len(found) == 1 else None
    return length if isinstance(length, int) else None


@extern(*_LOADERS)
def loader(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``DataLoader(dataset, batch_size=64, shuffle=True)``."""
    ref = machine.new(state, "loader", place, name=name.rpartition(".")[2], extern=name, arguments=arguments)
    _describe(machine, machine.things[ref.address], arguments)
    return ref


def _describe(machine: Machine, thing: Thing, arguments: Arguments) -> None:
    given = arguments.get(1, "batch_size")
    size, is_default = integer(given)
    batched = arguments.get(4, "batch_sampler") not in {None, Const(None)}
    if given is None and arguments.complete and not batched:
        size = 1
    drops = arguments.get(8, "drop_last")
    length = length_of(machine, arguments.get(0, "dataset"))
    drop: bool | None = drops.value if isinstance(drops, Const) and isinstance(drops.value, bool) else None
    if drops is None and arguments.complete:
        drop = False
    # A sampler or a batch sampler chooses the samples: how many are left over is its business.
    sampled = batched or arguments.get(3, "sampler") not in {None, Const(None)}
    thing.facts.update(
        batch_size=None if is_default or batched else size,
        default_batch_size=size if is_default else None,
        drop_last=drop,
        length=length,
        last_batch=None,
    )
    if length is not None and size and not is_default and drop is False and not sampled and length % size:
        thing.facts["last_batch"] = length % size


@prefix("torchvision.datasets.")
def vision_dataset(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``datasets.MNIST(root, train=True)``."""
    short = name.rpartition(".")[2]
    if not short[:1].isupper():
        return None
    ref = machine.new(state, "dataset", place, name=short, extern=name, arguments=arguments)
    machine.things[ref.address].facts["length"] = _vision_length(short, arguments)
    return ref


def _vision_length(name: str, arguments: Arguments) -> int | None:
    if name in LENGTHS:
        train = arguments.get(1, "train")
        if train is None:
            return LENGTHS[name][0] if arguments.complete else None
        return LENGTHS[name][0 if train.value else 1] if isinstance(train, Const) else None
    if name in _SPLITS:
        split = arguments.get(1, "split")
        default = _SPLIT_DEFAULT.get(name, "train") if split is None and arguments.complete else None
        chosen = split.value if isinstance(split, Const) else default
        return _SPLITS[name].get(chosen) if isinstance(chosen, str) else None
    return None


@extern("torch.utils.data.Subset")
def subset(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``Subset(dataset, range(100))``."""
    return _dataset(machine, state, name, place, _count(arguments.get(1, "indices"), argument(written_call(place), 1, "indices")))


@extern("torch.utils.data.ConcatDataset")
def concatenated(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``ConcatDataset([a, b])``."""
    items = _items(machine, state, arguments.get(0, "datasets"))
    lengths = [length_of(machine, item) for item in items or ()]
    known = [length for length in lengths if length is not None]
    return _dataset(machine, state, name, place, sum(known) if known and len(known) == len(lengths) else None)


@extern("torch.utils.data.TensorDataset")
def tensor_dataset(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``TensorDataset(torch.randn(100, 3), labels)``."""
    rows = {rows_of(gathered(machine, state, [item], keep=True)) for item in arguments.positional}
    known = rows - {None}
    return _dataset(machine, state, name, place, known.pop() if len(known) == 1 else None)


@extern("torch.utils.data.random_split")
def split(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``random_split(dataset, [50_000, 10_000])``, also by fractions."""
    total = length_of(machine, arguments.get(0, "dataset"))
    sizes = _items(machine, state, arguments.get(1, "lengths"))
    if sizes is None:
        return Tuple((), _dataset(machine, state, name, place, None))
    found = []
    for index, size in enumerate(sizes):
        found.append(_dataset(machine, state, name, place, _part(size, total), tag=f"split {index}"))
    return Tuple(tuple(found))


def _part(size: Value, total: int | None) -> int | None:
    """Samples of one part: a number, or a fraction that divides the whole evenly (the remainder goes round the parts otherwise)."""
    if not isinstance(size, Const) or isinstance(size.value, bool):
        return None
    if isinstance(size.value, int):
        return size.value
    if isinstance(size.value, float) and total is not None and abs(size.value * total - round(size.value * total)) < 1e-6:
        return round(size.value * total)
    return None


def _dataset(machine: Machine, state: State, name: str, place: Place, length: int | None, tag: str = "") -> Ref:
    ref = machine.new(state, "dataset", place, name=name.rpartition(".")[2], extern=name, tag=tag)
    machine.things[ref.address].facts["length"] = length
    return ref


def _items(machine: Machine, state: State, value: Value | None) -> list[Value] | None:
    """Items of a list or tuple whose number is known."""
    if isinstance(value, Tuple):
        return list(value.items) if value.rest is None else None
    thing = machine.thing(value) if value is not None else None
    if thing is None or thing.kind != "list":
        return None
    fields = state.fields_of(thing.address)
    return None if "[*]" in fields else [fields[key] for key in sorted(fields, key=lambda key: (len(key), key)) if key.startswith("[")]


def _count(value: Value | None, written: ast.expr | None) -> int | None:
    """How many indices a tuple, ``range(n)`` or ``list(range(n))`` gives."""
    if isinstance(value, Tuple) and value.rest is None:
        return len(value.items)
    if isinstance(written, ast.Call) and isinstance(written.func, ast.Name) and not written.keywords:
        bounds = [item.value for item in written.args if isinstance(item, ast.Constant) and type(item.value) is int]
        if written.func.id == "range" and bounds and len(bounds) == len(written.args):
            return len(range(*bounds)) if len(bounds) < 3 or bounds[2] else None
        if written.func.id in {"list", "tuple"} and written.args:
            return _count(None, written.args[0])
    return None


@built
def project_dataset(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """A loader class of the project that extends ``DataLoader``."""
    if not any(base in _LOADERS for base in cls.externals):
        return None
    ref = machine.new(state, "loader", place, name=cls.name, cls=cls, arguments=arguments)
    machine.things[ref.address].facts.update(batch_size=None, last_batch=None, length=None)
    return ref


@iterated
def batches(machine: Machine, state: State, value: Value, place: Place) -> tuple[list[Value], bool] | None:
    """``for images, labels in loader``."""
    del state
    thing = machine.thing(value)
    if thing is None:
        return None
    if thing.kind in {"loader", "dataset"}:
        return [Data(origins=frozenset({thing.kind}), about=Ref(thing.address))], False
    if thing.kind == "opaque" and _LOADER_NAME.search(place.text.rpartition("(")[2].rstrip(")").rpartition(".")[2].strip()):
        return [Data(origins=frozenset({"loader"}))], False
    return None


@method("__iter__", "__next__", "next")
def next_batch(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``iter(loader).next()``."""
    del arguments
    thing = machine.thing(receiver)
    if thing is None or thing.kind not in {"loader", "dataset"}:
        return receiver if plain_data(receiver) and name == "__next__" else None
    found = batches(machine, state, receiver, place)
    return receiver if name == "__iter__" else found[0][0] if found else None


@attribute("dataset", "batch_size", "batch_sampler", "sampler")
def loader_attribute(machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
    """``loader.dataset``, ``loader.batch_size``."""
    del state, place
    thing = machine.thing(receiver)
    if thing is None or thing.kind != "loader" or thing.arguments is None:
        return None
    if name == "dataset":
        return thing.arguments.get(0, "dataset") or NOTHING
    if name == "batch_size":
        return Const(thing.facts["batch_size"]) if thing.facts.get("batch_size") is not None else NOTHING
    return NOTHING
