"""What was taken as given while a forward was traced, as expressions that are checked before the traced code runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

__all__ = ["ORIGINAL", "TENSORS", "Guards", "Reference", "is_plain", "reached", "resolved", "written"]

ORIGINAL = "_original"
"""Name under which the new forward finds the one that it stands for."""
TENSORS = "_tensors"
"""Name of what counts as a tensor in guards: tensors, and what stands for one while ``torch.fx`` traces."""
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

    def add(self, condition: str) -> None:
        """Demand one more."""
        if condition not in self.conditions:
            self.conditions.append(condition)

    def with_more(self, conditions: Iterable[str]) -> Guards:
        """The same and more."""
        return replace(self, conditions=list(dict.fromkeys([*self.conditions, *conditions])))

    def name(self, value: Any) -> str:
        """A name for an object that cannot be written as an expression."""
        for name, held in self.names.items():
            if held is value:
                return name
        name = f"_given_{len(self.names)}"
        self.names[name] = value
        return name

    def constant(self, place: str, value: Any) -> None:
        """Demand that an argument equals a plain value."""
        if value is None or isinstance(value, bool) or value is Ellipsis:
            self.add(f"{place} is {value!r}")
        elif value != value:  # noqa: PLR0124 -- only nan differs from itself
            self.add(f"{place} != {place}")
        elif isinstance(value, _ATOMS) and type(value) in _ATOMS:
            self.add(f"type({place}) is {type(value).__name__} and {place} == {written(value)}")
        else:
            self.add(f"{place} == {written(value)}")


def is_plain(value: Any) -> bool:
    """Whether a value is no tensor and can be compared and written down."""
    return isinstance(value, (*_ATOMS, torch.dtype, torch.device, torch.memory_format, torch.layout, torch.Size))


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


def reached(path: str) -> str:
    """The expression for what is called ``path`` within the module: ``self.layers`` and ``getattr(self.layers, '0').norm``."""
    found = "self"
    for part in path.split(".") if path else ():
        found = f"{found}.{part}" if part.isidentifier() else f"getattr({found}, {part!r})"
    return found


def resolved(names: Mapping[str, Any]) -> dict[str, Any]:
    """Objects by name, with references followed."""
    return {name: value.get() if isinstance(value, Reference) else value for name, value in names.items()}
