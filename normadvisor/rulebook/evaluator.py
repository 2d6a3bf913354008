"""Evaluation of checked expressions: simpleeval's walk over the tree with operators that know what "unknown" is.

``None`` is "unknown", and an unknown never makes a rule speak: ordering an unknown is false, computing with it gives an unknown, and so
does asking it for an attribute. Sizes are bounded, so that no expression takes noticeable time or memory.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import simpleeval

from normadvisor.types import GROUPS
from normadvisor.types.groups import group_count

__all__ = ["MAX_LENGTH", "MAX_MAGNITUDE", "MAX_POWER", "Evaluator", "attribute_of"]

MAX_LENGTH = 10_000
"""Longest list or string that ``+`` makes, and longest list a comprehension walks."""
MAX_MAGNITUDE = 10**30
"""Largest whole number that arithmetic makes."""
MAX_POWER = 64
"""Largest exponent."""
MAX_DIGITS = 30
"""Most digits that ``round`` is asked for."""

_PLAIN = frozenset({str, int, float, bool, bytes, list, tuple, set, frozenset, complex, range, slice})


def attribute_of(owner: object, name: str) -> Any:
    """Data attribute of a value: a key of a mapping or an attribute of an object; ``None`` when there is none.

    Methods, private names and attributes of plain values (numbers, strings, lists) are never given out.
    """
    if owner is None or name.startswith("_") or type(owner) in _PLAIN:
        return None
    value = owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
    return None if callable(value) else value


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _bounded(value: Any) -> Any:
    """Refuse whole numbers that grow without limit; a complex root is an unknown."""
    if isinstance(value, complex):
        return None
    if isinstance(value, int) and abs(value) > MAX_MAGNITUDE:
        raise ValueError("the number grows too large")
    return value


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return None
        if not (_number(left) and _number(right)):
            raise TypeError(f"cannot compute with {_kind(left)} and {_kind(right)}")
        try:
            return _bounded(compute(left, right))
        except ZeroDivisionError:
            return None

    return apply


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _add(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if _number(left) and _number(right):
        return _bounded(left + right)
    if isinstance(left, str) and isinstance(right, str):
        joined: Any = (left, right)
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        joined = (list(left), list(right))
    else:
        raise TypeError(f"cannot add {_kind(left)} and {_kind(right)}")
    if len(left) + len(right) > MAX_LENGTH:
        raise ValueError("the result of '+' is too long")
    return joined[0] + joined[1]


def _power(base: float, exponent: float) -> Any:
    if abs(exponent) > MAX_POWER:
        raise ValueError(f"an exponent may be at most {MAX_POWER}")
    return base**exponent


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def apply(left: Any, right: Any) -> bool:
        return left is not None and right is not None and bool(compare(left, right))

    return apply


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, tuple) and isinstance(right, list):
        return list(left) == right
    if isinstance(left, list) and isinstance(right, tuple):
        return left == list(right)
    return bool(left == right)


def _contains(item: Any, container: Any) -> bool:
    return container is not None and item in container


def _lacks(item: Any, container: Any) -> bool:
    return container is not None and item not in container


def _unary(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if value is None:
            return None
        if not _number(value):
            raise TypeError(f"cannot change the sign of {_kind(value)}")
        return compute(value)

    return apply


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _add,
    ast.Sub: _arithmetic(operator.sub),
    ast.Mult: _arithmetic(operator.mul),
    ast.Div: _arithmetic(operator.truediv),
    ast.FloorDiv: _arithmetic(operator.floordiv),
    ast.Mod: _arithmetic(operator.mod),
    ast.Pow: _arithmetic(_power),
    ast.USub: _unary(operator.neg),
    ast.UAdd: _unary(operator.pos),
    ast.Not: operator.not_,
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.Lt: _ordering(operator.lt),
    ast.LtE: _ordering(operator.le),
    ast.Gt: _ordering(operator.gt),
    ast.GtE: _ordering(operator.ge),
    ast.In: _contains,
    ast.NotIn: _lacks,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def _strict(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is unknown as soon as anything it is given, or anything in a list it is given, is unknown."""

    def apply(*arguments: Any) -> Any:
        for argument in arguments:
            if argument is None or (isinstance(argument, list | tuple) and None in argument):
                return None
        return _bounded(compute(*arguments))

    return apply


def _length(value: Any) -> int | None:
    return None if value is None else len(value)


def _extreme(compute: Callable[..., Any]) -> Callable[..., Any]:
    """``min`` or ``max``; of an empty list it is unknown."""
    return _strict(lambda *arguments: compute(*arguments) if len(arguments) > 1 or len(arguments[0]) else None)


def _product(values: Sequence[Any]) -> Any:
    total: Any = 1
    for value in values:
        if not _number(value):
            raise TypeError(f"prod() of a list with {_kind(value)}")
        total = _bounded(total * value)
    return total


def _sum(values: Sequence[Any]) -> Any:
    if not all(_number(value) for value in values):
        raise TypeError("sum() takes a list of numbers")
    return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)


def _round(value: float, digits: int = 0) -> Any:
    # round(1, -10**9) would build a number of a billion digits.
    if abs(digits) > MAX_DIGITS:
        raise ValueError(f"round() takes at most {MAX_DIGITS} digits")
    return round(value, digits) if digits else round(value)


def _groups(channels: int, *most: int) -> int:
    # Every number up to the limit is tried, so the limit is one too.
    if not all(type(number) is int and number <= MAX_LENGTH for number in most):
        raise ValueError(f"group_count() makes at most {MAX_LENGTH} groups")
    if type(channels) is not int:
        raise TypeError(f"group_count() of {_kind(channels)}")
    return group_count(channels, *most)


BUILTINS: dict[str, Callable[..., Any]] = {
    "abs": _strict(abs),
    "all": lambda values: values is not None and all(values),
    "any": lambda values: values is not None and any(values),
    "group_count": _strict(_groups),
    "has": lambda owner, key: isinstance(key, str) and attribute_of(owner, key) is not None,
    "len": _length,
    "max": _extreme(max),
    "min": _extreme(min),
    "prod": _strict(_product),
    "round": _strict(_round),
    "sorted": _strict(sorted),
    "sum": _strict(_sum),
}


class Evaluator(simpleeval.EvalWithCompoundTypes):  # type: ignore[misc]  # simpleeval has no annotations
    """Evaluates trees that :func:`normadvisor.rulebook.language.parse_expression` has let through."""

    names: Mapping[str, Any]

    def __init__(self) -> None:
        super().__init__(operators=OPERATORS, functions={}, names={})
        # What simpleeval adds of itself (list, dict, set ...) is not part of the language.
        self.functions = {**BUILTINS, "count": self.count}
        handlers = {
            ast.Attribute: self.attribute,
            ast.BinOp: self._eval_binop,
            ast.BoolOp: self._eval_boolop,
            ast.Call: self.call,
            ast.Compare: self._eval_compare,
            ast.Constant: self.constant,
            ast.GeneratorExp: self.comprehension,
            ast.IfExp: self._eval_ifexp,
            ast.List: self._eval_list,
            ast.ListComp: self.comprehension,
            ast.Name: self.name,
            ast.Slice: self._eval_slice,
            ast.Subscript: self.subscript,
            ast.Tuple: self._eval_tuple,
            ast.UnaryOp: self._eval_unaryop,
        }
        self.nodes = handlers

    def run(self, tree: ast.expr, scope: Mapping[str, Any]) -> Any:
        """Value of a tree; names that ``scope`` lacks are unknown."""
        outer = self.names
        self.names = scope
        try:
            return self._eval(tree)
        finally:
            self.names = outer

    def _eval(self, node: ast.AST) -> Any:
        """Dispatch; simpleeval's search for forbidden functions in every result is not needed where no function is ever a value."""
        return self.nodes[type(node)](node)

    @staticmethod
    def constant(node: ast.Constant) -> Any:
        """Value of a constant."""
        return node.value

    def name(self, node: ast.Name) -> Any:
        """Value of a name; ``None`` when an alternative of the pattern did not capture it."""
        return self.names.get(node.id)

    def attribute(self, node: ast.Attribute) -> Any:
        """Value of ``owner.name``."""
        return attribute_of(self._eval(node.value), node.attr)

    def subscript(self, node: ast.Subscript) -> Any:
        """Item or slice; ``None`` when it does not exist."""
        container = self._eval(node.value)
        key = self._eval(node.slice)
        if container is None or key is None:
            return None
        try:
            return container[key]
        except (IndexError, KeyError):
            return None

    def call(self, node: ast.Call) -> Any:
        """Call of a listed function."""
        assert isinstance(node.func, ast.Name)  # noqa: S101  # the checked grammar has no other callee
        return self.functions[node.func.id](*[self._eval(argument) for argument in node.args])

    def comprehension(self, node: ast.GeneratorExp | ast.ListComp) -> list[Any] | None:
        """A comprehension as a list; ``None`` over an unknown."""
        generator = node.generators[0]
        assert isinstance(generator.target, ast.Name)  # noqa: S101  # the checked grammar binds one name
        values = self._eval(generator.iter)
        if values is None:
            return None
        if not isinstance(values, list | tuple):
            raise TypeError(f"cannot walk over {_kind(values)}")
        if len(values) > MAX_LENGTH:
            raise ValueError(f"a comprehension walks over at most {MAX_LENGTH} values")
        outer = self.names
        result = []
        inner = dict(outer)
        self.names = inner
        try:
            for value in values:
                inner[generator.target.id] = value
                if all(self._eval(condition) for condition in generator.ifs):
                    result.append(self._eval(node.elt))
        finally:
            self.names = outer
        return result

    def count(self, what: str) -> Any:
        """How many nodes of an operation, a group or a pattern the model has."""
        counter = self.names.get("count")
        if callable(counter):
            return counter(what)
        counts = attribute_of(self.names.get("model"), "counts")
        if counts is None:
            return None
        if what in counts:
            return counts[what]
        return sum(counts.get(op, 0) for op in GROUPS.get(what, ()))
