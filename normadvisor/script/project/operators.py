"""Comparisons and arithmetic of abstract values."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from normadvisor.script.project.abstract import PLAIN, UNKNOWN, Abstract, Built, Code, Either, Items, PartialCall, Table
from normadvisor.script.values import Class, Const, Extern, ModuleValue

__all__ = ["arithmetic", "compared"]

_LARGEST = 10**9
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_OBJECTS = Class | Extern | Code | Built | PartialCall | ModuleValue | Items | Table


def compared(test: ast.cmpop, left: Abstract, right: Abstract) -> bool | None:
    """The outcome of a comparison; ``None`` if it is open."""
    if isinstance(left, Either):
        found = {compared(test, item, right) for item in left.values}
        return found.pop() if len(found) == 1 else None
    if isinstance(test, ast.In | ast.NotIn):
        inside = _contained(left, right)
        return inside if inside is None or isinstance(test, ast.In) else not inside
    if isinstance(test, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
        same = _same(left, right)
        if same is not None:
            return same if isinstance(test, ast.Is | ast.Eq) else not same
        return None
    if isinstance(left, Const) and isinstance(right, Const):
        try:
            return bool(_COMPARE[type(test)](left.value, right.value))
        except (TypeError, KeyError):
            return None
    return None


def _same(left: Abstract, right: Abstract) -> bool | None:
    if isinstance(left, Const) and isinstance(right, Const):
        return bool(left.value == right.value)
    if isinstance(left, Const) or isinstance(right, Const):
        other = right if isinstance(left, Const) else left
        return False if isinstance(other, _OBJECTS) else None
    if isinstance(left, Class | Extern) and isinstance(right, Class | Extern):
        return left == right
    return None


def _contained(item: Abstract, container: Abstract) -> bool | None:
    if not isinstance(item, Const):
        return None
    if isinstance(container, Table):
        return True if item.value in container.values else None if container.open else False
    if isinstance(container, Const) and isinstance(container.value, str) and isinstance(item.value, str):
        return item.value in container.value
    if isinstance(container, Items):
        if item in container.values:
            return True
        return False if not container.open and all(isinstance(value, Const) for value in container.values) else None
    return None


def arithmetic(operation: ast.operator, left: Abstract, right: Abstract) -> Abstract:
    """``left + right`` and so on: of numbers and texts, of lists; anything else is no module."""
    if isinstance(left, Items) or isinstance(right, Items):
        return _lists(operation, left, right)
    if isinstance(operation, ast.BitOr) and isinstance(left, Table) and isinstance(right, Table):
        return Table({**left.values, **right.values}, left.open or right.open)
    if isinstance(left, Const) and isinstance(right, Const) and type(operation) in _ARITHMETIC:
        numbers = isinstance(left.value, int | float) and isinstance(right.value, int | float)
        texts = isinstance(left.value, str) and isinstance(right.value, str) and isinstance(operation, ast.Add)
        if (numbers and max(abs(left.value), abs(right.value)) < _LARGEST) or texts:
            try:
                return Const(_ARITHMETIC[type(operation)](left.value, right.value))
            except (ArithmeticError, TypeError, ValueError):
                return PLAIN
    return PLAIN


def _lists(operation: ast.operator, left: Abstract, right: Abstract) -> Abstract:
    if isinstance(operation, ast.Mult):
        items, times = (left, right) if isinstance(left, Items) else (right, left)
        if isinstance(items, Items):
            if isinstance(times, Const) and isinstance(times.value, int):
                return Items(list(items.values) if times.value > 0 else [], items.open)
            return Items(list(items.values), open=True)
    if isinstance(operation, ast.Add):
        one = left if isinstance(left, Items) else Items([left] if left is UNKNOWN else [], open=True)
        two = right if isinstance(right, Items) else Items([right] if right is UNKNOWN else [], open=True)
        return Items([*one.values, *two.values], one.open or two.open)
    return PLAIN
