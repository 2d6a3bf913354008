"""Arithmetic and comparison of values that are known."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from normadvisor.script.values import NOTHING, Const, Data, Tuple, Value, choice, merged_data

__all__ = ["ARITHMETIC", "SIGNS", "computed", "item_of_tuple", "without_activation"]

ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.MatMult: ("@", operator.matmul),
    ast.BitOr: ("|", operator.or_),
    ast.BitAnd: ("&", operator.and_),
    ast.BitXor: ("^", operator.xor),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
}
_MOST_TEXT = 10_000
"""Longest string and largest number that arithmetic on constants makes."""
SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip


def item_of_tuple(value: Tuple, key: Value) -> Value:
    """One item of a tuple, or any if it is not known which."""
    if isinstance(key, Const) and isinstance(key.value, int) and value.rest is None and -len(value.items) <= key.value < len(value.items):
        return value.items[key.value]
    items = (*value.items, *([value.rest] if value.rest is not None else []))
    return choice(items) if items else NOTHING


def computed(text: str, compute: Callable[[Any, Any], Any], left: Any, right: Any) -> Value:
    """Arithmetic on constants, kept small."""
    if text in {"**", "<<", "@"} or (text == "*" and (isinstance(left, str | bytes) or isinstance(right, str | bytes))):
        small = isinstance(left, int | float) and isinstance(right, int | float) and abs(left) <= 1024 and abs(right) <= 16
        if not small or text == "@":
            return NOTHING
    if isinstance(left, str) and text == "%":
        return NOTHING
    try:
        result = compute(left, right)
    except (TypeError, ValueError, ArithmeticError):
        return NOTHING
    if isinstance(result, str | bytes) and len(result) > _MOST_TEXT:
        return NOTHING
    if isinstance(result, int) and abs(result) > 10**_MOST_EXPONENT:
        return NOTHING
    return Const(result)


_MOST_EXPONENT = 30


def without_activation(values: list[Value]) -> Data:
    """Data that come from several values by an operation that is no activation."""
    data = merged_data(values)
    return Data(data.calls, None, None, data.origins) if data.activation else data
