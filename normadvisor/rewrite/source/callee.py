"""How a call hands an argument over: by position, by name, inside ``*rest`` or ``**rest``, or not at all."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normadvisor.rewrite.source.place import FunctionNode, SourceTree

__all__ = ["Given", "Slot", "default_of", "given", "has_explicit_self", "is_bound", "parameter_names", "slot_in", "slot_of"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a callable takes an argument."""

    position: int | None
    """Among the arguments by position, ``self`` not counted; ``None`` if it goes by name only."""
    name: str | None
    """``None`` if it goes by position only."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a call says about an argument."""

    value: ast.expr | None = None
    """The argument as it is written."""
    rest: ast.expr | None = None
    """What stands behind ``*``, if the argument may be in it."""
    rest_at: int = 0
    """Position of :attr:`rest` among the arguments."""
    named_rest: tuple[ast.expr, ...] = ()
    """What stands behind every ``**``, if the argument may be in it."""

    @property
    def hidden(self) -> bool:
        """Whether the call may hold the argument without showing it."""
        return self.value is None and (self.rest is not None or bool(self.named_rest))


def slot_of(function: Callable[..., Any], name: str) -> Slot | None:
    """Where the constructor of a class, or a function, takes an argument; ``None`` if it has none of that name."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    by_position = [item.name for item in parameters if item.kind in {item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD}]
    found = next((item for item in parameters if item.name == name), None)
    if found is None or found.kind in {found.VAR_POSITIONAL, found.VAR_KEYWORD}:
        return None
    position = by_position.index(name) if name in by_position else None
    return Slot(position, None if found.kind is found.POSITIONAL_ONLY else name)


def slot_in(function: FunctionNode, name: str, *, bound: bool) -> Slot | None:
    """Where a function takes one of its parameters; ``bound`` says that its first parameter is filled in by Python."""
    arguments = function.args
    only = [item.arg for item in arguments.posonlyargs]
    by_position = [*only, *(item.arg for item in arguments.args)][int(bound) :]
    if name in by_position:
        return Slot(by_position.index(name), None if name in only else name)
    return Slot(None, name) if any(item.arg == name for item in arguments.kwonlyargs) else None


def parameter_names(function: FunctionNode) -> list[str]:
    """Names of the parameters that may be given by position or by name, without ``*rest`` and ``**rest``."""
    arguments = function.args
    return [item.arg for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def default_of(function: FunctionNode, name: str) -> ast.expr | None:
    """The default of a parameter as it is written; ``None`` if it has none."""
    arguments = function.args
    by_position = [*arguments.posonlyargs, *arguments.args]
    with_default = by_position[len(by_position) - len(arguments.defaults) :]
    pairs = [*zip(with_default, arguments.defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return next((default for item, default in pairs if item.arg == name), None)


def has_explicit_self(call: ast.Call) -> bool:
    """Whether a call writes ``self`` out: ``Base.__init__(self, ...)``."""
    func = call.func
    if not isinstance(func, ast.Attribute) or not call.args or not isinstance(call.args[0], ast.Name):
        return False
    owner = func.value
    by_super = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
    return call.args[0].id == "self" and not by_super and not (isinstance(owner, ast.Name) and owner.id == "self")


def given(call: ast.Call, slot: Slot) -> Given:
    """What a call says about the argument at a slot."""
    if slot.name is not None:
        for keyword in call.keywords:
            if keyword.arg == slot.name:
                return Given(keyword.value)
    plain = call.args[int(has_explicit_self(call)) :]
    star = next((index for index, item in enumerate(plain) if isinstance(item, ast.Starred)), None)
    rest: ast.expr | None = None
    if slot.position is not None:
        if star is not None and star <= slot.position:
            starred = plain[star]
            rest = starred.value if isinstance(starred, ast.Starred) else None
        elif slot.position < len(plain):
            return Given(plain[slot.position])
    named_rest = tuple(keyword.value for keyword in call.keywords if keyword.arg is None) if slot.name is not None else ()
    return Given(None, rest, star or 0, named_rest)


def is_bound(function: FunctionNode, tree: SourceTree) -> bool:
    """Whether Python fills in the first parameter of a function: it is a method, and no static one."""
    if isinstance(function, ast.Lambda) or tree.owner(function) is None:
        return False
    decorators = (item.id for item in function.decorator_list if isinstance(item, ast.Name))
    return "staticmethod" not in decorators
