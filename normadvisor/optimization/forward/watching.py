"""Values that a forward reads from somewhere else than its arguments: each becomes a guard, so that another value later is noticed."""

from __future__ import annotations

import enum
import inspect
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

import torch
from torch import nn

from normadvisor.optimization.forward.guards import ATTRIBUTE, is_plain, written

if TYPE_CHECKING:
    from normadvisor.optimization.forward.tracer import Tracer

__all__ = ["CODE", "Watch", "class_attribute"]

_MOST = 200
"""Entries of a container that are compared on every call: a microsecond or two, which is little beside what is saved."""
_WRITTEN = 16
"""Entries up to which a container is written out in the guard."""
_EXACT = (list, tuple, set, frozenset, dict, OrderedDict, defaultdict)
CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType, type, types.ModuleType)
"""What is the same for as long as it is the same object, in copies as well."""
_METHODS = (
    types.FunctionType, classmethod, staticmethod, types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
)  # fmt: skip
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_UNWATCHED = ("logging", "warnings", "threading", "typing", "weakref", "_weakrefset")
"""Packages whose objects hold nothing that results hang on."""
_HEAP, _FIXED = 1 << 9, 1 << 8
"""Flags of classes, as in CPython's ``object.h``: made while Python runs, and not to be changed."""


class Watch:
    """Notes what is read while one forward is traced."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer, self._guards, self._refuse = tracer, tracer.guards, tracer.refuse
        self._objects: dict[int, tuple[Any, str]] = {}
        """Objects by identity, with the expressions that lead to them."""
        self._copies: dict[int, tuple[Any, Any]] = {}
        """Containers that were read, and their copies."""
        self._own: set[type] = set()
        """Classes that look up attributes in a way of their own, which takes long."""
        self._classes: set[type] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Classes are as they were."""
        self._stack.close()

    # -- what is read --------------------------------------------------------------------------------------------------------

    def value(self, value: Any, place: str) -> Any:
        """Demand that what an expression gives stays as it is; returns what the forward may have in its place.

        Args:
            value: what it gives now.
            place: the expression.

        """
        if isinstance(value, (enum.Enum, *CODE)) or value is NotImplemented:
            self._guards.add(f"{place} is {self._guards.name(value)}")
        elif is_plain(value):
            self._guards.constant(place, value)
        elif isinstance(value, nn.Module):
            if not self._tracer.owns(value):
                self._register(value, place)
        elif _is_unwatched(value):
            pass
        elif isinstance(value, torch.Tensor):
            self._refuse(f"uses a tensor that is no parameter or buffer of a module ({place})")
        elif _is_container(value):
            return self._container(value, place)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, f"{place}.__func__")
            self.value(value.__self__, f"{place}.__self__")
        elif isinstance(value, partial):
            for name in ("func", "args", "keywords"):
                self.value(getattr(value, name), f"{place}.{name}")
        else:
            self._object(value, place)
        return value

    def absent(self, holder: Any, name: str, place: str) -> None:
        """Demand that an object has no attribute of that name, or none but what its ``__getattr__`` makes up."""
        if name.startswith("__"):
            return
        if getattr(type(holder), "__getattr__", None) in {None, nn.Module.__getattr__}:
            self._guards.add(f"not hasattr({place}, {name!r})")
            return
        for held in ("__dict__", "_parameters", "_buffers", "_modules")[: 4 if isinstance(holder, nn.Module) else 1]:
            self._guards.add(f"{name!r} not in {place}.{held}")

    def attribute(self, holder: Any, name: str, value: Any, place: str) -> Any:
        """What was read from an object that ``place`` leads to: data becomes a guard, a method must not be covered by data."""
        if name.startswith("__"):
            return self.value(value, f"{place}.{name}") if name == "__dict__" else value
        held = _vars(holder)
        if held is not None and name in held:
            direct = type(holder) in self._own and not isinstance(holder, nn.Module)
            return self.value(value, f"{ATTRIBUTE}({place}, {name!r})" if direct else f"{place}.{name}")
        kind = inspect.getattr_static(type(holder), name, None)
        if isinstance(kind, _METHODS):
            if held is not None and not str(getattr(kind, "__module__", None) or "torch.").startswith("torch."):
                self._guards.add(f"{name!r} not in {place}.__dict__")
        elif kind is None or isinstance(kind, _SLOTS) or not hasattr(type(kind), "__get__"):
            return self.value(value, f"{place}.{name}")
        return value

    # -- objects -------------------------------------------------------------------------------------------------------------

    def place_of(self, holder: Any) -> str | None:
        """The expression that leads to an object, if it was read."""
        known = self._objects.get(id(holder))
        return None if known is None else known[1]

    def _object(self, value: Any, place: str) -> None:
        cls = type(value)
        of_torch = _home(cls) == "torch" and callable(value)
        if not (cls.__flags__ & _HEAP) or cls.__flags__ & _FIXED or of_torch:
            self._of_c(value, place)
        elif self._register(value, place):
            original: Any = cls.__getattribute__
            if cls not in self._classes and original is not object.__getattribute__:
                self._own.add(cls)
            self._watch(cls)

    def _register(self, value: Any, place: str) -> bool:
        """Note where an object is; whether it is a new one."""
        known = self._objects.get(id(value))
        if known is None:
            self._guards.add(f"type({place}) is {self._guards.name(type(value))}")
            self._objects[id(value)] = (value, place)
        elif known[1] != place:
            self._guards.add(f"{place} is {known[1]}")
        return known is None

    def _of_c(self, value: Any, place: str) -> None:
        """An object whose attributes cannot be watched."""
        if hasattr(value, "__next__") or hasattr(value, "__setitem__"):
            self._refuse(f"reads a {type(value).__name__}, whose values may change ({place})")
        self._guards.add(f"{place} is {self._guards.name(value)}")

    def _watch(self, cls: type) -> None:
        if cls in self._classes:
            return
        self._classes.add(cls)
        original: Any = cls.__getattribute__

        def read(holder: Any, name: str) -> Any:
            known = None if self._tracer.quiet else self._objects.get(id(holder))
            if known is None:
                return original(holder, name)
            try:
                value = original(holder, name)
            except AttributeError:
                self.absent(holder, name, known[1])
                raise
            return self.attribute(holder, name, value, known[1])

        try:
            self._stack.enter_context(patch.object(cls, "__getattribute__", read))
            self._stack.enter_context(patch.object(cls, "__setattr__", self._written(cls, cls.__setattr__)))
        except (AttributeError, TypeError):
            self._refuse(f"reads a {cls.__name__}, which cannot be watched")

    def _written(self, cls: type, original: Any) -> Callable[[Any, str, Any], None]:
        def write(holder: Any, name: str, value: Any) -> None:
            if not self._tracer.quiet and id(holder) in self._objects:
                self._refuse(f"writes {name} of a {cls.__name__} while it runs")
            original(holder, name, value)

        return write

    # -- containers ----------------------------------------------------------------------------------------------------------

    def _container(self, value: Any, place: str) -> Any:
        leaves = list(_leaves(value))
        if len(leaves) > _MOST:
            self._refuse(f"reads a {type(value).__name__} of {len(leaves)} entries, too many to be compared on every call ({place})")
        if type(value) is types.SimpleNamespace:
            self._guards.add(f"type({place}) is {self._guards.name(types.SimpleNamespace)}")
            return types.SimpleNamespace(**self._container(vars(value), f"{place}.__dict__"))
        if id(value) in self._copies:
            return self._copies[id(value)][1]
        if all(_is_fixed(leaf) for leaf in leaves):
            given = _text(value) if len(leaves) <= _WRITTEN else None
            self._guards.add(f"{place} == {given if given is not None else self._guards.name(_copy(value))}")
            made = _copy(value)
        else:
            made = self._by_items(value, place)
        self._copies[id(value)] = (value, made)
        return made

    def _by_items(self, value: Any, place: str) -> Any:
        """A container that holds objects."""
        if isinstance(value, dict):
            if not all(_is_fixed(key) for key in value):
                self._refuse(f"reads a {type(value).__name__} whose keys cannot be compared ({place})")
            keys = [self._key(key) for key in value]
            self._guards.add(f"[*{place}] == [{', '.join(keys)}]")
            made = _copy(value)
            for key, text in zip(value, keys, strict=True):
                made[key] = self.value(value[key], f"{place}[{text}]")
            return made
        if isinstance(value, (set, frozenset)):
            self._refuse(f"reads a {type(value).__name__} of objects, which cannot be compared ({place})")
        self._guards.add(f"len({place}) == {len(value)}")
        items = [self.value(item, f"{place}[{index}]") for index, item in enumerate(value)]
        return items if type(value) is list else tuple(items) if type(value) is tuple else type(value)(*items)

    def _key(self, key: Any) -> str:
        return written(key) if is_plain(key) and not isinstance(key, enum.Enum) else self._guards.name(key)

    def settle(self) -> None:
        """Refuse where the forward has changed one of the containers that it was given."""
        for value, made in self._copies.values():
            if not _same(value, made):
                self._refuse(f"changes a {type(value).__name__} that it keeps while it runs")


def class_attribute(cls: type, name: str) -> tuple[Any] | None:
    """What a class holds under a name, if it is data and no method or property."""
    if issubclass(cls, enum.Enum):
        return None  # its members are constants
    found = inspect.getattr_static(cls, name, _METHODS)
    return None if found is _METHODS or isinstance(found, (*_METHODS, *_SLOTS)) or hasattr(type(found), "__get__") else (found,)


def _vars(holder: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _home(cls: type) -> str:
    """The package of a class; some of compiled ones do not tell."""
    name: object = cls.__module__
    return name.partition(".")[0] if isinstance(name, str) else ""


def _is_unwatched(value: Any) -> bool:
    return _home(type(value)) in _UNWATCHED or isinstance(value, (property, BaseException))


def _is_container(value: Any) -> bool:
    kinds: tuple[Any, ...] = (*_EXACT, types.SimpleNamespace)
    return type(value) in kinds or (isinstance(value, tuple) and hasattr(type(value), "_fields"))


def _leaves(value: Any) -> Iterator[Any]:
    """What a container holds that is none itself."""
    waiting, seen = [value], 0
    while waiting and seen <= _MOST:
        found = waiting.pop()
        if not _is_container(found):
            seen += 1
            yield found
        elif isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        else:
            waiting += vars(found).values() if type(found) is types.SimpleNamespace else found


def _is_fixed(value: Any) -> bool:
    """Whether two of a kind are equal exactly if they are the same to whoever reads them."""
    return is_plain(value) or isinstance(value, (enum.Enum, *CODE))


def _copy(value: Any) -> Any:
    """A copy, that of the containers in it included."""
    if not _is_container(value):
        return value
    if type(value) is types.SimpleNamespace:
        return types.SimpleNamespace(**_copy(vars(value)))
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory, {key: _copy(item) for key, item in value.items()})
    if isinstance(value, dict):
        return type(value)((key, _copy(item)) for key, item in value.items())
    items = [_copy(item) for item in value]
    return type(value)(*items) if hasattr(type(value), "_fields") else type(value)(items)


def _same(first: Any, second: Any) -> bool:
    """Whether a copy holds what it held: equal values, or the same objects."""
    if not _is_container(first) or type(first) is not type(second):
        return first is second or bool(is_plain(first) and first == second)
    if type(first) is types.SimpleNamespace:
        return _same(vars(first), vars(second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (set, frozenset)):
        return bool(first == second)
    return len(first) == len(second) and all(map(_same, first, second))


def _text(value: Any) -> str | None:
    """A container of plain values as Python; ``None`` where it holds others, or is of a class that has to be named."""
    if isinstance(value, enum.Enum) or (not _is_container(value) and not is_plain(value)):
        return None
    if not _is_container(value):
        return written(value)
    if type(value) is dict:
        pairs = [(_text(key), _text(item)) for key, item in value.items()]
        return None if any(None in pair for pair in pairs) else "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    items = [_text(item) for item in value] if type(value) in {list, tuple} else [None]
    if None in items:
        return None
    inner = ", ".join(str(item) for item in items)
    return f"[{inner}]" if type(value) is list else f"({inner}{',' if len(items) == 1 else ''})"
