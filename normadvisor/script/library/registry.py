"""Where the parts of the library say what they handle: by dotted name, by method name, by attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from normadvisor.script.values import Arguments, Place, Ref, Value

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = [
    "ASSIGNMENTS", "ATTRIBUTES", "BUILT", "CALLED", "EXTERNS", "ITERATIONS", "METHODS", "OPERATIONS", "PREFIXES", "SUBSCRIPTS",
    "AssignmentHandler", "AttributeHandler", "BuildHandler", "CallHandler", "ExternHandler", "IterationHandler", "MethodHandler",
    "OperationHandler", "SubscriptHandler", "assigned", "attribute", "built", "called", "extern", "iterated", "method", "operation",
    "prefix", "subscripted",
]  # fmt: skip

ExternHandler: TypeAlias = "Callable[[Machine, State, str, Arguments, Place], Value | None]"
"""Handles a call by dotted name: machine, state, name, arguments, place."""
MethodHandler: TypeAlias = "Callable[[Machine, State, Value, str, Arguments, Place], Value | None]"
"""Handles a call of a method: machine, state, receiver, name, arguments, place; ``None`` if the receiver is not of its kind."""
CallHandler: TypeAlias = "Callable[[Machine, State, Ref, Arguments, Place], Value | None]"
"""Handles a call of an object: machine, state, object, arguments, place; ``None``: not mine."""
BuildHandler: TypeAlias = "Callable[[Machine, State, ClassInfo, Arguments, Place], Value | None]"
"""Handles the construction of a project class that extends an external one: machine, state, class, arguments, place."""
AttributeHandler: TypeAlias = "Callable[[Machine, State, Value, str, Place], Value | None]"
"""Handles an attribute: machine, state, receiver, name, place."""
AssignmentHandler: TypeAlias = "Callable[[Machine, State, Value, str, Value, Place], None]"
"""Told of an assignment to an attribute: machine, state, receiver, name, value, place."""
OperationHandler: TypeAlias = "Callable[[Machine, State, str, list[Value], Place], Value | None]"
"""Handles an operation on data: machine, state, operator, operands, place."""
SubscriptHandler: TypeAlias = "Callable[[Machine, State, Value, Value, Place], Value | None]"
"""Handles a subscript: machine, state, receiver, key, place."""
IterationHandler: TypeAlias = "Callable[[Machine, State, Value, Place], tuple[list[Value], bool] | None]"
"""Handles an iteration: machine, state, value, place; elements and whether these are all."""
_E = TypeVar("_E", bound=ExternHandler)
_M = TypeVar("_M", bound=MethodHandler)
_C = TypeVar("_C", bound=CallHandler)
_B = TypeVar("_B", bound=BuildHandler)
_A = TypeVar("_A", bound=AttributeHandler)
_S = TypeVar("_S", bound=AssignmentHandler)
_O = TypeVar("_O", bound=OperationHandler)
_I = TypeVar("_I", bound=IterationHandler)
_K = TypeVar("_K", bound=SubscriptHandler)

EXTERNS: dict[str, ExternHandler] = {}
PREFIXES: dict[str, ExternHandler] = {}
METHODS: dict[str, list[MethodHandler]] = {}
CALLED: dict[str, list[CallHandler]] = {}
"""By kind of the object."""
BUILT: list[BuildHandler] = []
ATTRIBUTES: dict[str, list[AttributeHandler]] = {}
"""By name of the attribute; those under ``*`` are asked last."""
ASSIGNMENTS: list[AssignmentHandler] = []
OPERATIONS: list[OperationHandler] = []
SUBSCRIPTS: list[SubscriptHandler] = []
ITERATIONS: list[IterationHandler] = []


def extern(*names: str) -> Callable[[_E], _E]:
    """Register a handler for dotted names."""

    def register(handler: _E) -> _E:
        for name in names:
            if name in EXTERNS:
                message = f"{name} is handled twice"
                raise ValueError(message)
            EXTERNS[name] = handler
        return handler

    return register


def prefix(*names: str) -> Callable[[_E], _E]:
    """Register a handler for every dotted name that begins so (``torchvision.models.``) and has no handler of its own; the longest wins."""

    def register(handler: _E) -> _E:
        PREFIXES.update(dict.fromkeys(names, handler))
        return handler

    return register


def method(*names: str) -> Callable[[_M], _M]:
    """Register a handler for methods, ``*`` for any; those of one name are asked in the order of their registration, ``*`` last."""

    def register(handler: _M) -> _M:
        for name in names:
            METHODS.setdefault(name, []).append(handler)
        return handler

    return register


def called(*kinds: str) -> Callable[[_C], _C]:
    """Register a handler for calls of objects of some kinds (``loss``, ``module``); asked in the order of their registration."""

    def register(handler: _C) -> _C:
        for kind in kinds:
            CALLED.setdefault(kind, []).append(handler)
        return handler

    return register


def built(handler: _B) -> _B:
    """Register a handler for the construction of project classes that extend external ones."""
    BUILT.append(handler)
    return handler


def attribute(*names: str) -> Callable[[_A], _A]:
    """Register a handler for attributes by name; ``*`` for any."""

    def register(handler: _A) -> _A:
        for name in names:
            ATTRIBUTES.setdefault(name, []).append(handler)
        return handler

    return register


def assigned(handler: _S) -> _S:
    """Register a handler that is told of every assignment to an attribute."""
    ASSIGNMENTS.append(handler)
    return handler


def operation(handler: _O) -> _O:
    """Register a handler for operations on data."""
    OPERATIONS.append(handler)
    return handler


def subscripted(handler: _K) -> _K:
    """Register a handler for subscripts."""
    SUBSCRIPTS.append(handler)
    return handler


def iterated(handler: _I) -> _I:
    """Register a handler for iterations."""
    ITERATIONS.append(handler)
    return handler
