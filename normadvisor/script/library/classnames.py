"""Tests on the class of a layer by identity or by name: ``type(m) is nn.BatchNorm2d``, ``m.__class__.__name__.find("BatchNorm") != -1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normadvisor.script.library.names import canonical, last
from normadvisor.script.values import Arguments, Class, Const, Extern, Place, Ref, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["class_test", "name_method"]

_NAME = ".__name__"
_TEXT: dict[str, Callable[..., Any]] = {
    "find": str.find, "rfind": str.rfind, "startswith": str.startswith, "endswith": str.endswith, "lower": str.lower, "upper": str.upper,
    "count": str.count, "strip": str.strip, "__contains__": str.__contains__,
}  # fmt: skip


def _text(value: Value) -> str | None:
    """A string, or the name of an external class."""
    if isinstance(value, Const) and isinstance(value.value, str):
        return value.value
    if isinstance(value, Extern) and value.name.endswith(_NAME):
        return last(value.name.removesuffix(_NAME))
    return None


def name_method(name: str, arguments: Arguments) -> Value | None:
    """A method of the name of an external class; ``None`` for any other function."""
    owner, _, tail = name.rpartition(".")
    if not owner.endswith(_NAME) or tail not in _TEXT or not arguments.complete or arguments.named:
        return None
    text = _text(Extern(owner))
    given = [item.value for item in arguments.positional if isinstance(item, Const)]
    if text is None or len(given) != len(arguments.positional):
        return None
    try:
        return Const(_TEXT[tail](text, *given))
    except (TypeError, ValueError):
        return None


def class_test(machine: Machine, state: State, operator: str, operands: list[Value], place: Place) -> Value | None:  # noqa: ARG001
    """Comparisons of external classes, and of their names."""
    if operator not in {"==", "!=", "is", "is not", "in", "not in"} or len(operands) != 2:
        return None
    left, right = operands
    if not any(isinstance(item, Extern) for item in operands):
        return None
    found = _contained(machine, state, left, right) if operator in {"in", "not in"} else _same(left, right)
    return None if found is None else Const(found if operator in {"==", "is", "in"} else not found)


def _same(left: Value, right: Value) -> bool | None:
    one, other = _text(left), _text(right)
    if one is not None and other is not None:
        return one == other
    if isinstance(left, Class) or isinstance(right, Class):
        pair = [item for item in (left, right) if isinstance(item, Class | Extern)]
        names = {item.info.name if isinstance(item, Class) else last(item.name) for item in pair}
        return len(names) == 1 if any(isinstance(item, Extern) for item in pair) else None
    if not isinstance(left, Extern) or not isinstance(right, Extern):
        return None
    # Two spellings of other libraries may still name one class; those of torch are known.
    if canonical(left.name) == canonical(right.name):
        return True
    return False if left.name.startswith("torch.nn.") or right.name.startswith("torch.nn.") else None


def _contained(machine: Machine, state: State, left: Value, right: Value) -> bool | None:
    one, text = _text(left), _text(right)
    if one is not None and text is not None:
        return one in text
    items: list[Value] | None = None
    if isinstance(right, Tuple) and right.rest is None:
        items = list(right.items)
    elif isinstance(right, Ref) and machine.things[right.address].kind in {"list", "set"}:
        fields = state.fields_of(right.address)
        items = None if "[*]" in fields else [item for name, item in fields.items() if name.startswith("[")]
    if items is None:
        return None
    answers = [_same(left, item) for item in items]
    return True if True in answers else None if None in answers else False
