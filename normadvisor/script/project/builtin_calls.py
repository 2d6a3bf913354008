"""Python's own functions and the methods of lists and dictionaries, as far as code that builds models uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normadvisor.script.project.abstract import (
    PLAIN,
    SELF,
    UNKNOWN,
    Abstract,
    Built,
    Call,
    Code,
    Items,
    PartialCall,
    Piece,
    Table,
    either,
)
from normadvisor.script.values import Class, Const, Extern, ModuleValue

if TYPE_CHECKING:
    from normadvisor.script.project.evaluate import Evaluator, Frame

__all__ = ["call_builtin", "call_item_method"]

_MOST_NUMBERS = 8
_SAME = frozenset(["list", "tuple", "set", "sorted", "reversed", "iter", "copy.deepcopy", "copy.copy"])
_NUMBERS: dict[str, Callable[..., Any]] = {
    "int": int, "float": float, "bool": bool, "str": str, "abs": abs, "max": max, "min": min, "round": round,
    "str.lower": str.lower, "str.upper": str.upper, "str.strip": str.strip, "str.startswith": str.startswith,
    "str.endswith": str.endswith, "str.replace": str.replace,
}  # fmt: skip


def call_builtin(evaluator: Evaluator, frame: Frame, name: str, call: Call) -> Abstract | None:
    """A function of the language or its library; ``None`` if it is none that matters here."""
    first = call.positional[0] if call.positional else None
    if name == "functools.partial" and first is not None:
        return PartialCall(first, Call(call.positional[1:], call.named, call.open))
    if name in _SAME:
        return _same(evaluator, first)
    if name in {"dict", "collections.OrderedDict", "typing.OrderedDict", "collections.defaultdict"}:
        return _table(first, call)
    if name == "range":
        return _range(call)
    if name == "enumerate" and first is not None:
        values, closed = evaluator.elements(first)
        return Items([Items([Const(index) if closed else PLAIN, value]) for index, value in enumerate(values)], not closed)
    if name == "zip":
        return _zip(evaluator, call)
    if name == "len":
        return Const(len(first.values)) if isinstance(first, Items | Table) and not first.open else PLAIN
    if name == "getattr":
        return _getattr(evaluator, frame, call)
    if name == "isinstance":
        return _is_instance(call)
    if name == "callable":
        return Const(value=True) if isinstance(first, Class | Extern | Code | PartialCall) else PLAIN
    if name == "next" and isinstance(first, Items):
        return either(first.values)
    return _number(name, call)


def _same(evaluator: Evaluator, first: Abstract | None) -> Abstract:
    if first is None:
        return Items()
    if isinstance(first, Items):
        return Items(list(first.values), first.open)
    if isinstance(first, Table):
        return Items([Const(key) for key in first.values], first.open)
    if isinstance(first, Built):
        return Items(list(first.items) or [PLAIN], open=not first.items)
    if isinstance(first, Const) and isinstance(first.value, str):
        return Items(evaluator.elements(first)[0])
    if isinstance(first, Piece):
        return Items([first], open=True)
    return UNKNOWN if first is UNKNOWN else PLAIN


def _table(first: Abstract | None, call: Call) -> Abstract:
    table = Table()
    if isinstance(first, Table):
        table.values.update(first.values)
        table.open = first.open
    elif isinstance(first, Items):
        for index, item in enumerate(first.values):
            known = isinstance(item, Items) and len(item.values) == 2
            key = item.values[0].value if known and isinstance(item.values[0], Const) else ("", index)  # type: ignore[union-attr]
            table.values[key] = item.values[1] if known else item  # type: ignore[union-attr]
        table.open = first.open
    elif first is not None:
        table.open = True
    table.values.update(call.named)
    table.open = table.open or call.open
    return table


def _range(call: Call) -> Abstract:
    numbers = [value.value for value in call.positional if isinstance(value, Const) and isinstance(value.value, int)]
    if len(numbers) == len(call.positional) and 0 < len(numbers) <= 3 and not call.open and numbers[2:] != [0]:
        found = range(*numbers)
        kept = [*found] if len(found) <= _MOST_NUMBERS else [*found[: _MOST_NUMBERS // 2], *found[-_MOST_NUMBERS // 2 :]]
        return Items([Const(number) for number in kept])
    return Items([PLAIN], open=True)


def _zip(evaluator: Evaluator, call: Call) -> Abstract:
    columns = [evaluator.elements(value) for value in call.positional]
    if columns and all(closed for _, closed in columns) and len({len(values) for values, _ in columns}) == 1:
        return Items([Items(list(row)) for row in zip(*(values for values, _ in columns), strict=True)])
    return Items([Items([either(values) for values, _ in columns])], open=True)


def _getattr(evaluator: Evaluator, frame: Frame, call: Call) -> Abstract:
    if len(call.positional) < 2:
        return UNKNOWN
    owner, name = call.positional[0], call.positional[1]
    if not isinstance(name, Const):
        functions = isinstance(owner, Extern) and owner.name in {"torch", "torch.nn.functional", "torch.nn.init", "torch.optim"}
        return PLAIN if owner is SELF or functions else UNKNOWN
    found = evaluator.attribute_of(frame, owner, str(name.value))
    return call.positional[2] if found is PLAIN and len(call.positional) > 2 else found


_TYPES: dict[str, tuple[type, ...]] = {
    "builtins.int": (int,), "builtins.str": (str,), "builtins.float": (float,), "builtins.bool": (bool,),
    "numbers.Number": (int, float), "numbers.Integral": (int,), "numbers.Real": (int, float),
}  # fmt: skip
_LISTS = frozenset(["builtins.list", "builtins.tuple", "collections.abc.Iterable", "collections.abc.Sequence", "typing.Sequence"])


_OBJECTS = Class | Extern | Code | PartialCall | ModuleValue | Built


def _is_instance(call: Call) -> Abstract:
    if len(call.positional) != 2:
        return PLAIN
    value, wanted = call.positional
    kinds = wanted.values if isinstance(wanted, Items) else [wanted]
    names = [kind.name if isinstance(kind, Extern) else "?" for kind in kinds]
    if isinstance(value, Const) and all(name in _TYPES or name in _LISTS for name in names):
        return Const(any(isinstance(value.value, _TYPES[name]) for name in names if name in _TYPES))
    if isinstance(value, Items):
        if any(name in _LISTS for name in names):
            return Const(value=True)
        return Const(value=False) if all(name in _TYPES for name in names) else PLAIN
    if isinstance(value, _OBJECTS) and all(name in _TYPES or name in _LISTS for name in names):
        return Const(value=False)
    return PLAIN


def _number(name: str, call: Call) -> Abstract | None:
    function = _NUMBERS.get(name)
    if function is None:
        return None
    values = [value.value for value in call.positional if isinstance(value, Const)]
    if not values or len(values) != len(call.positional) or call.named or call.open:
        return PLAIN
    try:
        return Const(function(*values))
    except (TypeError, ValueError, OverflowError):
        return PLAIN


def call_item_method(owner: Items | Table, name: str, call: Call) -> Abstract:
    """A method of a list or a dictionary."""
    if isinstance(owner, Items):
        return _list_method(owner, name, call)
    if name in {"get", "pop", "setdefault"} and call.positional:
        return _entry(owner, name, call)
    if name == "items":
        return Items([Items([Const(key), value]) for key, value in owner.values.items()], owner.open)
    if name == "values":
        return Items(list(owner.values.values()), owner.open)
    if name == "keys":
        return Items([Const(key) for key in owner.values], owner.open)
    if name == "copy":
        return Table(dict(owner.values), owner.open)
    if name == "update":
        added = _table(call.positional[0] if call.positional else None, call)
        if isinstance(added, Table):
            owner.values.update(added.values)
            owner.open = owner.open or added.open
    return PLAIN


def _entry(owner: Table, name: str, call: Call) -> Abstract:
    key = call.positional[0]
    default: Abstract = call.positional[1] if len(call.positional) > 1 else Const(None)
    if not isinstance(key, Const):
        return either([*owner.values.values(), default]) if not owner.open else UNKNOWN
    if key.value in owner.values:
        return owner.values.pop(key.value) if name == "pop" else owner.values[key.value]
    if name == "setdefault":
        owner.values[key.value] = default
    return UNKNOWN if owner.open else default


def _list_method(owner: Items, name: str, call: Call) -> Abstract:
    if name in {"append", "insert"} and call.positional:
        owner.values.append(call.positional[-1])
        return PLAIN
    if name == "extend" and call.positional:
        value = call.positional[0]
        owner.values.extend(value.values if isinstance(value, Items) else value.items if isinstance(value, Built) else [value])
        owner.open = owner.open or not isinstance(value, Items) or value.open
        return PLAIN
    if name == "pop":
        return either(owner.values) if owner.values else PLAIN
    if name == "copy":
        return Items(list(owner.values), owner.open)
    return PLAIN


