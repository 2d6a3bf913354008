"""What was taken as given while a forward was traced, as expressions that are checked before the traced code runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

__all__ = [
    "ABSENT", "AS_TRACED", "ATTRIBUTE", "BASE", "ORIGINAL", "PASSED_BY", "TENSORS", "Guards", "Reference", "bare", "is_plain", "of_layer",
    "passed_by", "reached", "written",
]  # fmt: skip

ORIGINAL = "_original"
"""Name under which the new forward finds the one that it stands for."""
TENSORS = "_tensors"
"""Name of what counts as a tensor in guards: tensors, and what stands for one while ``torch.fx`` traces."""
ATTRIBUTE = "_attribute"
"""Name of what reads an attribute of an object, whatever its class does when it is asked."""
BASE = "_normadvisor_base"
"""Attribute of a class with another forward: the class it is derived from."""
PASSED_BY = "_passed_by"
"""Name of :func:`passed_by` in guards."""
_OWN = "normadvisor."
"""How the names of modules of this package begin."""
AS_TRACED = "_as_traced"
"""Name of whether all guards hold."""
ABSENT = "_absent"
"""Name of what is raised where that which a guard reads is not there."""
_ATOMS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an object can be imported from, so that code that needs it can be stored."""

    module: str
    name: str = ""
    """Qualified name within the module; empty for the module itself."""

    @classmethod
    def of(cls, value: Any) -> Reference | None:
        """The place of a module, class or function, ``None`` where it has none that leads back to it."""
        if type(value) is type(sys):
            return cls(value.__name__)
        module = getattr(value, "__module__", None)
        for name in (getattr(value, "__qualname__", None), getattr(value, "__name__", None)):
            if isinstance(module, str) and isinstance(name, str):
                found = cls(module, name)
                try:
                    if found.get() is value:
                        return found
                except (ImportError, AttributeError):
                    continue
        return None

    def get(self) -> Any:
        """Import the object.

        Raises:
            ImportError: the module is gone.
            AttributeError: the name is gone.

        """
        if self.module not in sys.modules:
            __import__(self.module)
        found: Any = sys.modules[self.module]
        for part in self.name.split(".") if self.name else ():
            found = getattr(found, part)
        return found


@dataclass(slots=True)
class Guards:
    """Expressions over the arguments and ``self``, each of which has to be true."""

    conditions: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    """Objects that the expressions name: classes, functions."""
    places: dict[str, str] = field(default_factory=dict)
    """Name of each placeholder, and the expression over the arguments that gives it."""
    exact: bool = False
    """Whether the shapes of all tensors had to be taken as they were."""
    gone: str = ""
    """Why the forward as it was cannot run any more; empty if it can."""

    def add(self, condition: str) -> None:
        """Demand one more."""
        if condition not in self.conditions:
            self.conditions.append(condition)

    def with_more(self, conditions: Iterable[str]) -> Guards:
        """The same and more."""
        return replace(self, names=dict(self.names), conditions=list(dict.fromkeys([*self.conditions, *conditions])))

    def name(self, value: Any) -> str:
        """A name for an object that cannot be written as an expression."""
        for name, held in self.names.items():
            if held is value:
                return name
        name = f"_given_{len(self.names)}"
        self.names[name] = value
        return name

    def of_class(self, place: str | None, kinds: Any, *, is_one: bool) -> None:
        """Demand that an object, if it is in the module, still is or is not an instance of a class, or of one of several."""
        if place is not None and place != "self":
            self.add(f"{'' if is_one else 'not '}isinstance({place}, {self.name(kinds)})")

    def constant(self, place: str, value: Any) -> None:
        """Demand that an argument equals a plain value."""
        if type(value) in _ATOMS:
            self.add(_equal(place, value))
        elif isinstance(value, _ATOMS):  # a number of numpy, a member of an enumeration
            self.add(f"type({place}) is {self.name(type(value))} and {place} == {self.name(value)}")
        else:
            self.add(f"{place} == {written(value)}")


def is_plain(value: Any) -> bool:
    """Whether a value is no tensor and can be compared and written down."""
    return isinstance(value, (*_ATOMS, torch.dtype, torch.device, torch.memory_format, torch.layout, torch.Size))


def _equal(place: str, value: Any) -> str:
    """The condition that an expression gives a plain value of Python."""
    if value is None or isinstance(value, bool) or value is Ellipsis:
        return f"{place} is {value!r}"
    if isinstance(value, float) and value != value:  # noqa: PLR0124 -- only nan differs from itself
        return f"{place} != {place}"
    if type(value) in {str, bytes}:
        return f"{place} == {written(value)}"
    return f"type({place}) is {type(value).__name__} and {place} == {written(value)}"


def bare(value: Any) -> Any:
    """A plain value without the class that its own is derived from ``int``, ``float`` or ``str`` with."""
    kinds: tuple[Any, ...] = (bool, int, float, complex, str)
    kind = next((kind for kind in kinds if isinstance(value, kind)), None)
    return value if kind is None or type(value) is kind else kind(value)


def written(value: Any) -> str:
    """A plain value as Python."""
    if isinstance(value, torch.device):
        return f"torch.{value!r}" if repr(value).startswith("device") else repr(value)
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 -- nan
        return f"float({str(value)!r})"
    if isinstance(value, torch.Size):
        return f"torch.Size({list(value)!r})"
    if isinstance(value, slice):
        return f"slice({written(value.start)}, {written(value.stop)}, {written(value.step)})"
    if isinstance(value, tuple):
        return "(" + "".join(f"{written(item)}, " for item in value) + ")"
    return repr(value)


def reached(path: str, held: str = "_modules") -> str:
    """The expression for what is called ``path`` within the module: ``self._modules['layers']._modules['0'].scale``.

    Args:
        path: relative to the module; empty for itself.
        held: the attribute that holds the last of it: ``_modules``, ``_parameters`` or ``_buffers``; empty for one of its own. They are
            read directly, since ``nn.Module.__getattr__`` takes ten times as long.

    """
    *modules, last = path.split(".") if path else ("",)
    found = "".join(["self", *(f"._modules[{part!r}]" for part in modules)])
    if not last:
        return found
    return f"{found}.{held}[{last!r}]" if held else f"{found}.{last}"


def of_layer(layer: nn.Module, path: str) -> list[str]:
    """Conditions on a layer that is not called any more, since what it does is done otherwise.

    Its class is told by name, since the layer itself may have been given another forward; hooks are asked for in one go.

    Args:
        layer: as it is.
        path: from the module whose forward calls it.

    """
    place = reached(path)
    found = [f"{PASSED_BY}({place}) == {_class_name(layer)!r}"]
    for name, value in vars(layer).items():
        if name.startswith("_") or name in {"training", "inplace"} or isinstance(value, torch.Tensor):
            continue
        if value is None or type(value) in {bool, int, float, str}:
            found.append(_equal(f"{place}.{name}", value))
        elif type(value) in {tuple, list} and all(type(item) in {bool, int, float, str} for item in value):
            found.append(f"{place}.{name} == {written(value)}")
    for kind, held in (("_parameters", layer._parameters), ("_buffers", layer._buffers)):  # noqa: SLF001 -- the public ones skip None
        found += [f"{place}.{kind}[{name!r}] is {'' if value is None else 'not '}None" for name, value in held.items()]
    return found


def passed_by(layer: nn.Module) -> str:
    """Class of a layer without hooks; empty if it has some, which would have to be called.

    Hooks of this package do not count: they are there to see which layers run, and this one does not.
    """
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:  # noqa: SLF001
        kinds = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)  # noqa: SLF001
        if any(not str(getattr(hook, "__module__", "")).startswith(_OWN) for held in kinds for hook in held.values()):
            return ""
    return _class_name(layer)


def _class_name(layer: nn.Module) -> str:
    """Of its class; one with another forward goes by the name of the class that it is derived from."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
