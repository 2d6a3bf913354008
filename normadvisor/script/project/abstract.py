"""Values that the code building a model computes, as far as they decide which layers it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.script.values import Arguments, Choice, Class, Const, Data, Extern, Function, ModuleValue, Partial, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.contents import Contents, Layer
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types.location import Location

__all__ = [
    "PLAIN", "SELF", "UNKNOWN", "Abstract", "Built", "Call", "Code", "Either", "Items", "PartialCall", "Piece", "Share", "Table", "either",
    "frozen", "holds_unknown", "imported", "options", "settle", "truth",
]  # fmt: skip

_MOST_OPTIONS = 6


@dataclass(frozen=True, slots=True)
class _Marker:
    name: str


UNKNOWN = _Marker("unknown")
"""Could be anything, also a module."""
PLAIN = _Marker("plain")
"""A number, a text, a tensor, a part of something that was already looked at: nothing that brings layers with it."""
SELF = _Marker("self")
"""The object being built."""


@dataclass(frozen=True, slots=True)
class Code:
    """A function of the project; ``bound``: a method of the object being built."""

    module: SourceModule
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    owner: ClassInfo | None = None
    bound: bool = False
    closure: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PartialCall:
    """``functools.partial``."""

    function: Abstract
    call: Call


@dataclass(slots=True, eq=False)
class Share:
    """What one model adds to the whole; ``partial``: only a piece of it is used, so its head may be left out."""

    contents: Contents
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a model: ``vgg.features``, ``resnet.children()``."""

    share: Share


@dataclass(slots=True, eq=False)
class Built:
    """A module that was built."""

    name: str
    """External dotted name, or the class name."""
    contents: Contents | None = None
    """Of a project class: what it holds, and how its forward ends."""
    items: list[Abstract] = field(default_factory=list)
    """Elements of a container."""
    layer: Layer | None = None
    location: Location | None = None
    call: Call | None = None
    share: Share | None = None
    open: bool = False
    """A container to which further elements may have been added, or not all of these."""


@dataclass(slots=True, eq=False)
class Items:
    """A list; ``open``: there may be further elements like these."""

    values: list[Abstract] = field(default_factory=list)
    open: bool = False
    level: int = 0
    """Undecided branches around the place where it was made."""


@dataclass(slots=True, eq=False)
class Table:
    """A dictionary with literal keys; ``open``: there may be further ones."""

    values: dict[Any, Abstract] = field(default_factory=dict)
    open: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """One of several values."""

    values: tuple[Abstract, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of a call. ``open``: there may be further ones that are not known."""

    positional: tuple[Abstract, ...] = ()
    named: tuple[tuple[str, Abstract], ...] = ()
    open: bool = False

    def get(self, position: int | None, *names: str) -> Abstract | None:
        """An argument; ``None`` if it is not given, :data:`UNKNOWN` if it may be."""
        for name, value in self.named:
            if name in names:
                return value
        if position is not None and position < len(self.positional):
            return self.positional[position]
        return UNKNOWN if self.open else None

    def values(self) -> Iterator[Abstract]:
        """All of them."""
        yield from self.positional
        for _, value in self.named:
            yield value

    def joined(self, other: Call) -> Call:
        """These arguments followed by others, whose names win (``functools.partial``)."""
        return Call(self.positional + other.positional, tuple({**dict(self.named), **dict(other.named)}.items()), self.open or other.open)


Abstract: TypeAlias = "_Marker | Const | Class | Extern | ModuleValue | Code | PartialCall | Built | Piece | Items | Table | Either | Tuple"


def options(value: Abstract) -> tuple[Abstract, ...]:
    """The alternatives of a value."""
    return value.values if isinstance(value, Either) else (value,)


def either(values: list[Abstract]) -> Abstract:
    """One of several values."""
    found: dict[Any, Abstract] = {}
    for value in values:
        for option in options(value):
            found.setdefault(option, option)
    if not found:
        return PLAIN
    if len(found) == 1:
        return next(iter(found.values()))
    return UNKNOWN if UNKNOWN in found or len(found) > _MOST_OPTIONS else Either(tuple(found.values()))


def holds_unknown(value: Abstract, depth: int = 4) -> bool:
    """Whether a module that nothing is known of may be among these values."""
    if value is UNKNOWN:
        return True
    if depth == 0:
        return False
    if isinstance(value, Either):
        return any(holds_unknown(item, depth - 1) for item in value.values)
    if isinstance(value, Items):
        return any(holds_unknown(item, depth - 1) for item in value.values)
    if isinstance(value, Table):
        return any(holds_unknown(item, depth - 1) for item in value.values.values())
    return False


def settle(value: Abstract, depth: int = 4) -> None:
    """Pieces among these values are used by themselves: the models they are taken from are no longer whole."""
    if isinstance(value, Piece):
        value.share.partial = True
    elif depth and isinstance(value, Either | Items):
        for item in value.values:
            settle(item, depth - 1)
    elif depth and isinstance(value, Table):
        for item in value.values.values():
            settle(item, depth - 1)


def truth(value: Abstract) -> bool | None:
    """Whether a value counts as true; ``None`` if that is open."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, Either):
        found = {truth(item) for item in value.values}
        return found.pop() if len(found) == 1 else None
    if isinstance(value, Items | Table):
        return True if value.values else None if value.open else False
    return True if isinstance(value, Class | Extern | Code | PartialCall | Built | Piece | ModuleValue) else None


def frozen(value: Abstract, depth: int = 4) -> Any:
    """A hashable stand-in, to compare arguments by."""
    if isinstance(value, Built | Piece):
        return "built"
    if isinstance(value, Items | Table | Either) and depth == 0:
        return UNKNOWN
    if isinstance(value, Items):
        return ("items", value.open, tuple(frozen(item, depth - 1) for item in value.values))
    if isinstance(value, Table):
        return ("table", value.open, tuple((key, frozen(item, depth - 1)) for key, item in value.values.items()))
    if isinstance(value, Either):
        return ("either", "item_of", frozenset(frozen(item, depth - 1) for item in value.values))
    if isinstance(value, Const):
        return (type(value.value), value.value)
    if isinstance(value, PartialCall):
        named = tuple((name, frozen(item, depth - 1)) for name, item in value.call.named) if depth else ()
        return ("partial", frozen(value.function, depth), tuple(frozen(item, depth) for item in value.call.positional), named)
    return value


def imported(arguments: Arguments | None) -> Call | None:
    """Arguments as the interpreter of scripts knows them."""
    if arguments is None:
        return None
    return Call(
        tuple(_imported(value) for value in arguments.positional),
        tuple((name, _imported(value)) for name, value in arguments.named),
        not arguments.complete,
    )


def _imported(value: Value) -> Abstract:
    if isinstance(value, Const | Class | Extern | ModuleValue):
        return value
    if isinstance(value, Function):
        return Code(value.module, value.node, value.owner)
    if isinstance(value, Choice):
        return either([_imported(item) for item in value.values])
    if isinstance(value, Tuple):
        items = [_imported(item) for item in value.items]
        return Items([*items, *([_imported(value.rest)] if value.rest is not None else [])], open=value.rest is not None)
    if isinstance(value, Partial):
        call = Call(tuple(_imported(item) for item in value.positional), tuple((name, _imported(item)) for name, item in value.named))
        return PartialCall(_imported(value.function), call)
    return PLAIN if isinstance(value, Data) and value.origins & {"random", "parameter", "shape", "loader"} else UNKNOWN


def item_of(owner: Abstract, key: Abstract, *, is_slice: bool) -> Abstract:
    """``owner[key]``."""
    if isinstance(owner, Table):
        if isinstance(key, Const):
            return owner.values.get(key.value, UNKNOWN)
        return UNKNOWN if owner.open else either(list(owner.values.values()))
    if isinstance(owner, Piece):
        return owner
    values = owner.items if isinstance(owner, Built) else owner.values if isinstance(owner, Items) else None
    if values is None:
        return UNKNOWN if owner is UNKNOWN else owner if isinstance(owner, Extern) else PLAIN
    if is_slice:
        return Items(list(values), open=True)
    if isinstance(key, Const) and isinstance(key.value, int) and -len(values) <= key.value < len(values):
        return values[key.value]
    return either(values) if values else UNKNOWN
