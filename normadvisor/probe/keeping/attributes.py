"""Attributes of modules and optimizers: bound to the same objects again, with the contents that lists and dictionaries had."""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any

import torch

from normadvisor.probe.keeping.tensors import Tensors

__all__ = ["Attributes"]

_MAPPINGS = (dict, OrderedDict, defaultdict)
_SEQUENCES = (list, deque, set, bytearray)
_LARGE = 100_000
"""Entries of one container from which on it is taken for data rather than for state: its contents are not remembered."""


@dataclass(slots=True)
class _Contents:
    """A container and what it held."""

    name: str
    container: Any
    items: list[Any]

    def same(self) -> bool:
        if isinstance(self.container, set):
            return self.container == set(self.items)
        now = _items(self.container)
        return len(now) == len(self.items) and all(_alike(one, other) for one, other in zip(now, self.items, strict=True))

    def restore(self) -> None:
        if self.same():
            return
        self.container.clear()
        if isinstance(self.container, (set, *_MAPPINGS)):
            self.container.update(self.items)
        else:
            self.container.extend(self.items)


def _items(container: Any) -> list[Any]:
    return list(container.items()) if isinstance(container, _MAPPINGS) else list(container)


def _alike(one: Any, other: Any) -> bool:
    """Whether two entries are the same objects; a pair of key and value is compared part by part."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other) == 2:
        return all(first is second or _equal_keys(first, second) for first, second in zip(one, other, strict=True))
    return one is other or _equal_keys(one, other)


def _equal_keys(one: Any, other: Any) -> bool:
    return type(one) is type(other) and type(one) in {str, int, float, bool, bytes} and bool(one == other)


class Attributes:
    """The attributes of one object, containers inside of them, and the tensors, arrays and generators found on the way.

    Builtin containers and modules are entered however deeply they are nested. What other objects hold, and attributes of classes, is not
    remembered.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._owners: list[tuple[Any, type, str]] = []
        self._known: set[int] = set()
        self._contents: dict[int, _Contents] = {}
        self._generators: dict[int, tuple[str, torch.Generator, torch.Tensor]] = {}
        self._arrays: dict[int, tuple[str, Any, Any]] = {}

    def add(self, owner: Any, name: str) -> None:
        """Remember the class and the attributes of ``owner``, and those of modules inside of it; an owner that is known is passed over."""
        if id(owner) in self._known:
            return
        self._known.add(id(owner))
        self._owners.append((owner, type(owner), name))
        self._visit(vars(owner), name)

    def _visit(self, value: Any, name: str) -> None:
        waiting = [(value, name)]
        # Modules in plain lists are registered nowhere, and yet they run and get gradients.
        found: list[tuple[torch.nn.Module, str]] = []
        while waiting:
            each, path = waiting.pop()
            if isinstance(each, torch.Tensor):
                self._tensors.add(each, path)
            elif isinstance(each, torch.nn.Module):
                found.append((each, path))
            elif isinstance(each, torch.Generator):
                self._generators.setdefault(id(each), (path, each, each.get_state()))
            elif type(each).__module__ == "numpy" and type(each).__name__ == "ndarray":
                self._arrays.setdefault(id(each), (path, each, each.copy()))
            elif type(each) is tuple:
                waiting.extend(reversed([(part, f"{path}[{index}]") for index, part in enumerate(each)]))
            elif type(each) in {*_MAPPINGS, *_SEQUENCES} and id(each) not in self._contents and len(each) < _LARGE:
                self._contents[id(each)] = _Contents(path, each, _items(each))
                waiting.extend(reversed(_parts(each, path)))
        for module, path in found:
            self.add(module, path)

    def restore(self) -> None:
        """Put everything back."""
        for owner, cls, _ in self._owners:
            if type(owner) is not cls:
                owner.__class__ = cls
        for contents in self._contents.values():
            contents.restore()
        for _, generator, state in self._generators.values():
            generator.set_state(state)
        for _, array, copy in self._arrays.values():
            if not _same_array(array, copy):
                array[...] = copy

    def differences(self) -> list[str]:
        """What is not as it was, one sentence each."""
        owners = [(owner, cls, name) for owner, cls, name in self._owners if type(owner) is not cls]
        classes = [f"{name}: is a {type(owner).__name__}, was a {cls.__name__}" for owner, cls, name in owners]
        contents = [f"{each.name}: {_change(each)}" for each in self._contents.values() if not each.same()]
        others = [name for name, generator, state in self._generators.values() if not generator.get_state().equal(state)]
        generators = [f"{name}: is in another state" for name in others]
        arrays = [f"{name}: holds other values" for name, array, copy in self._arrays.values() if not _same_array(array, copy)]
        return classes + contents + generators + arrays


def _parts(container: Any, path: str) -> list[tuple[Any, str]]:
    if isinstance(container, (set, bytearray)):
        return []
    if not isinstance(container, _MAPPINGS):
        return [(part, f"{path}[{index}]") for index, part in enumerate(container)]
    return [(part, _joined(path, key)) for key, part in container.items()]


_TRANSPARENT = frozenset({"_parameters", "_buffers", "_modules"})


def _joined(path: str, key: Any) -> str:
    """Names as ``state_dict`` has them."""
    if not isinstance(key, str):
        return f"{path}[{type(key).__name__}]"
    if key in _TRANSPARENT:
        return path
    return f"{path}.{key}" if path else key


def _change(contents: _Contents) -> str:
    if not isinstance(contents.container, _MAPPINGS):
        return "has other entries"
    before, now = dict(contents.items), dict(contents.container)
    names = [str(key) for key in {**before, **now} if key not in now or key not in before or not _alike(now[key], before[key])]
    return f"other entries at {', '.join(names[:5])}" if names else "its entries stand in another order"


def _same_array(one: Any, other: Any) -> bool:
    numpy = sys.modules["numpy"]
    if one.dtype == object:
        return bool(numpy.array_equal(one, other))
    return bool(one.shape == other.shape and one.tobytes() == other.tobytes())
