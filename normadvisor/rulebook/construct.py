"""Dataclasses from plain data, by their annotations, for data that is right.

Importing pydantic and building its validator takes longer than reading every built-in rule, and rules that are right need neither. This
module knows the few kinds of annotation the rule model uses and is strict about each; whatever it does not accept is left to pydantic,
which may convert it or say what is wrong with it.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le, MinLen

__all__ = ["IrregularError", "construct"]

T = TypeVar("T")
Builder = Callable[[Any], Any]


class IrregularError(Exception):
    """The data is not exactly what the annotations ask for."""


def construct(cls: type[T], data: Any) -> T:
    """An instance of a dataclass from a mapping.

    Raises:
        IrregularError: the data does not fit as it is.

    """
    kind: Any = cls
    made: T = _builder(kind)(data)
    return made


@cache
def _builder(kind: Any) -> Builder:
    """How values of an annotated type are made."""
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind)
    if origin in {types.UnionType, Union}:
        return _union([_builder(member) for member in get_args(kind)])
    if origin is Annotated:
        inner, *limits = get_args(kind)
        return _limited(_builder(inner), limits)
    if origin is Literal:
        return _choice({value: value for value in get_args(kind)})
    if origin is list:
        return _list(_builder(get_args(kind)[0]))
    if origin is dict:
        return _dict(_builder(get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choice({member.value: member for member in kind})
    return (lambda data: data) if kind is Any else _plain(kind)


def _plain(kind: type) -> Builder:
    def build(data: Any) -> Any:
        # Exactly this type: True is no number.
        if type(data) is not kind:
            raise IrregularError
        return data

    return build


def _choice(members: dict[Any, Any]) -> Builder:
    def build(data: Any) -> Any:
        if not isinstance(data, str) or data not in members:
            raise IrregularError
        return members[data]

    return build


def _list(item: Builder) -> Builder:
    def build(data: Any) -> Any:
        if type(data) is not list:
            raise IrregularError
        return [item(value) for value in data]

    return build


def _dict(item: Builder) -> Builder:
    def build(data: Any) -> Any:
        if type(data) is not dict:
            raise IrregularError
        return {key: item(value) for key, value in data.items()}

    return build


def _union(members: list[Builder]) -> Builder:
    def build(data: Any) -> Any:
        for member in members:
            try:
                return member(data)
            except IrregularError:
                continue
        raise IrregularError

    return build


def _limited(inner: Builder, limits: list[Any]) -> Builder:
    def build(data: Any) -> Any:
        value = inner(data)
        for limit in limits:
            match limit:
                case Ge(ge=least) if value >= least:
                    continue
                case Le(le=most) if value <= most:
                    continue
                case MinLen(min_length=shortest) if len(value) >= shortest:
                    continue
            raise IrregularError
        return value

    return build


def _dataclass(cls: type[Any]) -> Builder:
    hints: dict[str, Any] = {}
    builders: dict[str, Builder] = {}
    required = {field.name for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING}

    def build(data: Any) -> Any:
        if type(data) is not dict:
            raise IrregularError
        if not hints:
            # On first use: classes refer to one another.
            hints.update(get_type_hints(cls, include_extras=True))
        values = {}
        for key, value in data.items():
            if key not in builders:
                if key not in cls.__dataclass_fields__:
                    raise IrregularError
                builders[key] = _builder(hints[key])
            values[key] = builders[key](value)
        if not required <= values.keys():
            raise IrregularError
        return cls(**values)

    return build
