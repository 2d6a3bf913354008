"""Values of the abstract interpreter: what an expression of a script may evaluate to.

Values are immutable and hashable. What can change over time (fields, list items, modes) stands in :class:`~normadvisor.script.state.State`
under the address of a :class:`Ref`; what is known once and for all about the object at an address is a :class:`Thing`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.contents import Contents
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types import Location

__all__ = [
    "COMPUTED_NAME", "NOTHING", "Arguments", "Bound", "Choice", "Class", "Const", "Context", "Data", "Extern", "Function", "ModuleValue",
    "Partial", "Place", "Ref", "Thing", "Tuple", "Value", "choice", "members", "merged_data",
]  # fmt: skip

MOST_ALTERNATIVES = 6
"""Alternatives a :class:`Choice` keeps; with more it is forgotten."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: str, bytes, int, float, complex, bool, None or Ellipsis."""

    value: Any


@dataclass(frozen=True, slots=True)
class Data:
    """A tensor, a number, or anything of which only its origin matters; without fields: nothing is known."""

    calls: frozenset[int] = frozenset()
    """Numbers of the model calls whose outputs flowed in."""
    activation: str | None = None
    """Last operation if it is an activation: ``softmax``, ``log_softmax``, ``sigmoid``, ``log_sigmoid``, ``relu`` ..."""
    activation_at: Place | None = None
    origins: frozenset[str] = frozenset()
    """Where it comes from: ``random`` (torch.randn), ``loader``, ``parameter``, ``argument``, ``shape``, ``optimizer:ADDRESS`` ..."""
    about: Ref | None = None
    """The object it was derived from, where that matters: parameters of a model, a data set's length."""


NOTHING = Data()
"""Nothing is known."""
COMPUTED_NAME = "(computed)"
"""Name of an attribute that a program computes: ``getattr(model, "train" if training else "eval")``."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The address of a :class:`Thing`; aliases share it."""

    address: int


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple, or another immutable sequence."""

    items: tuple[Value, ...]
    rest: Value | None = None
    """What further items may be, if their number is unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function, method or lambda of the project. Compared by identity."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    module: SourceModule
    qualname: str
    closure: int | None = None
    """Address of the environment of the enclosing function."""
    owner: ClassInfo | None = None
    """Class it was defined in."""
    defaults: Mapping[str, Value] = field(default_factory=dict)
    contexts: tuple[Context, ...] = ()
    """Contexts entered around every call, by decorators: ``@torch.no_grad()``."""
    kind: str = "function"
    """``function``, ``static``, ``class``, ``property`` or ``context_manager``."""


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the project."""

    info: ClassInfo


@dataclass(frozen=True, slots=True)
class ModuleValue:
    """A module of the project."""

    module: SourceModule


@dataclass(frozen=True, slots=True)
class Extern:
    """A name outside the project: ``torch.nn.Linear``. Nothing says whether it is a module, a class, a function or a value."""

    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """An attribute looked up on a value and not resolved to a value: a method about to be called."""

    receiver: Value
    name: str


@dataclass(frozen=True, slots=True)
class Partial:
    """``functools.partial``, and functions bound to ``self``."""

    function: Value
    positional: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """A context manager of a library: what it does between ``__enter__`` and ``__exit__``."""

    kind: str
    """``no_grad``, ``enable_grad``, ``unknown_grad``, ``eval``, ``train``, ``autocast``, ``other`` ..."""
    place: Place | None = None
    value: Value = NOTHING
    """What ``as`` binds, or the model whose mode is set."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, depending on the path."""

    values: tuple[Value, ...]


Value: TypeAlias = "Const | Data | Ref | Tuple | Function | Class | ModuleValue | Extern | Bound | Partial | Context | Choice"


@dataclass(frozen=True, slots=True)
class Place:
    """A span of source text, with the function around it and the calls that led there (innermost first)."""

    location: Location
    function: str = "<module>"
    callers: tuple[Location, ...] = ()
    statement: Location | None = None
    text: str = ""


@dataclass(slots=True, eq=False)
class Thing:
    """What is fixed about an object.

    ``kind``: ``module`` (an nn.Module), ``opaque`` (a parameter of a function that nobody calls: could be a model), ``instance`` (of a
    project class that is no nn.Module), ``list``, ``dict``, ``set``, ``optimizer``, ``loss``, ``loader``, ``dataset``, ``scheduler``,
    ``scaler``,
    ``ema``, ``framework`` (a trainer that handles modes), ``environment`` (a closure) or ``other``.
    """

    address: int
    kind: str
    place: Place
    name: str = ""
    """As a user would say it: class or factory, ``ResNet`` or ``torchvision.models.resnet18``."""
    cls: ClassInfo | None = None
    extern: str = ""
    """Dotted name of the external class or factory."""
    parent: tuple[int, str] | None = None
    """Module that it is a part of, and the attribute."""
    arguments: Arguments | None = None
    """What it was built with."""
    contents: Contents | None = None
    """Layers, where known when it was built."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else the library wants to remember: parameters of an optimizer, kind of a loss, batch size."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a call, evaluated."""

    positional: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()
    star: Value | None = None
    """An element of ``*args`` of unknown length."""
    double_star: Value | None = None
    """A value of ``**kwargs`` of unknown keys."""

    def get(self, position: int | None, *names: str) -> Value | None:
        """The argument at a position or under one of some names; ``None`` if it is not given (it may hide in ``star``)."""
        for name, value in self.named:
            if name in names:
                return value
        if position is not None and position < len(self.positional):
            return self.positional[position]
        return None

    def values(self) -> Iterable[Value]:
        """All of them."""
        yield from self.positional
        for _, value in self.named:
            yield value
        if self.star is not None:
            yield self.star
        if self.double_star is not None:
            yield self.double_star

    @property
    def complete(self) -> bool:
        """Whether every argument is known by position or name."""
        return self.star is None and self.double_star is None


def members(value: Value) -> tuple[Value, ...]:
    """The alternatives of a value: itself, unless it is a choice."""
    return value.values if isinstance(value, Choice) else (value,)


def choice(values: Iterable[Value]) -> Value:
    """One of several values; the value itself if they are all the same, data with all their origins if there are too many."""
    found: dict[Value, None] = {}
    for value in values:
        for member in members(value):
            found[member] = None
    if len(found) == 1:
        return next(iter(found))
    data = [item for item in found if isinstance(item, Data)]
    if len(data) > 1:
        rest = [item for item in found if not isinstance(item, Data)]
        found = dict.fromkeys([merged_data(data), *rest])
        if len(found) == 1:
            return next(iter(found))
    if not found or len(found) > MOST_ALTERNATIVES:
        return merged_data(found)
    return Choice(tuple(found))


def merged_data(values: Iterable[Value]) -> Data:
    """Data that come from several values, as the result of an unknown operation on them does; the activation survives if all agree."""
    calls: set[int] = set()
    origins: set[str] = set()
    activations: set[str | None] = set()
    place = None
    for value in values:
        for member in members(value):
            if isinstance(member, Tuple):
                member = merged_data((*member.items, *([member.rest] if member.rest else [])))  # noqa: PLW2901 - the same value as data
            if isinstance(member, Data):
                calls |= member.calls
                origins |= member.origins
                if member.about is not None and member.origins & {"parameter", "parameters", "named_parameters"}:
                    origins.add(f"about:{member.about.address}")
                activations.add(member.activation)
                place = place or member.activation_at
    activation = activations.pop() if len(activations) == 1 else None
    if not (calls or origins or activation):
        return NOTHING
    return Data(frozenset(calls), activation, place if activation else None, frozenset(origins))
