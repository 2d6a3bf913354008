"""Whether models are built alike and run the same code, as far as that can be told without running them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.proof.state import shape_of

__all__ = ["Likeness"]

_OWN = frozenset(vars(nn.Module()))
"""What every module has; of that, children, parameters and buffers are compared by themselves."""
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, torch.layout)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Likeness:
    """Compares modules, and remembers what it found out about classes and functions.

    Args:
        constructors: whether what builds a module has to be the same code. If not, everything that it left in the module has to be
            something that can be compared.

    """

    def __init__(self, *, constructors: bool) -> None:
        self._constructors = constructors
        self._known: dict[tuple[int, int], bool] = {}
        self._kept: list[Any] = []

    def of(self, one: nn.Module, other: nn.Module) -> bool:
        """Whether two modules are alike, apart from their children and the values of their parameters."""
        known = self._attributes(one, other)
        if known is False or one.extra_repr() != other.extra_repr() or _shapes(one) != _shapes(other):
            return False
        if any(bool(getattr(one, name)) or bool(getattr(other, name)) for name in _HOOKS) and known is None:
            return False
        return self._classes(type(one), type(other), constructors=self._constructors or known is None)

    def _attributes(self, one: nn.Module, other: nn.Module) -> bool | None:
        """Whether plain attributes are the same; ``None`` where all that can be compared are, and there are others."""
        # Buffers may be constants, which a constructor gives their values.
        before, after = (
            {**{key: value for key, value in vars(module).items() if key not in _OWN}, **module._buffers}  # noqa: SLF001
            for module in (one, other)
        )
        if before.keys() != after.keys():
            return False
        return _all(self._same(before[key], after[key]) for key in before)

    def _same(self, one: Any, other: Any, depth: int = 6) -> bool | None:
        """Whether two values are the same; ``None`` if that cannot be told."""
        if one is other:
            return True
        if type(one).__qualname__ != type(other).__qualname__:
            return False
        if isinstance(one, _PLAIN):
            return bool(one == other) or repr(one) == repr(other)
        if isinstance(one, torch.Tensor):
            if shape_of(one) != shape_of(other) or one.dtype != other.dtype:
                return False
            return None if one.is_meta or shape_of(one) is None else torch.equal(one, other) or None
        if isinstance(one, type):
            return self._classes(one, other, constructors=True)
        code = _function(one), _function(other)
        if code[0] is not None and code[1] is not None:
            return self._functions(code[0], code[1])
        return self._members(one, other, depth)

    def _members(self, one: Any, other: Any, depth: int) -> bool | None:
        if depth == 0:
            return None
        if isinstance(one, Mapping):
            if list(one) != list(other):
                return False
            pairs = [(one[key], other[key]) for key in one]
        elif isinstance(one, (list, tuple)):
            if len(one) != len(other):
                return False
            pairs = list(zip(one, other, strict=True))
        elif isinstance(one, partial):
            pairs = [(one.func, other.func), (one.args, other.args), (one.keywords, other.keywords)]
        else:
            return None
        return _all(self._same(*pair, depth - 1) for pair in pairs)

    def _classes(self, one: type, other: type, *, constructors: bool) -> bool:
        """Whether instances of two classes run the same code."""
        if one is other:
            return True
        return self._remembered(one, other, lambda: self._same_classes(one, other, constructors=constructors), extra=constructors)

    def _same_classes(self, one: type, other: type, *, constructors: bool) -> bool:
        before, after = one.__mro__, other.__mro__
        if [each.__qualname__ for each in before] != [each.__qualname__ for each in after]:
            return False
        for old, new in zip(before, after, strict=True):
            if old is new:
                continue
            held, now = dict(_members_of(old, constructors=constructors)), dict(_members_of(new, constructors=constructors))
            if held.keys() != now.keys() or any(self._same(held[name], now[name]) is False for name in held):
                return False
        return True

    def _functions(self, one: FunctionType, other: FunctionType) -> bool:
        if one is other:
            return True
        return self._remembered(one, other, lambda: self._same_functions(one, other))

    def _same_functions(self, one: FunctionType, other: FunctionType) -> bool:
        if _code(one.__code__) != _code(other.__code__):
            return False
        pairs: list[tuple[Any, Any]] = [(one.__defaults__, other.__defaults__), (one.__kwdefaults__, other.__kwdefaults__)]
        pairs += [(_cell(old), _cell(new)) for old, new in zip(one.__closure__ or (), other.__closure__ or (), strict=True)]
        pairs += [(one.__globals__.get(name), other.__globals__.get(name)) for name in _names(one.__code__)]
        return not any(self._same(*pair) is False for pair in pairs if not isinstance(pair[0], ModuleType | BuiltinFunctionType))

    def _remembered(self, one: Any, other: Any, compare: Callable[[], bool], *, extra: bool = False) -> bool:
        """What ``compare`` gives, found out once; things that refer to one another are alike unless something else shows otherwise."""
        key = (id(one), id(other) * 2 + extra)
        if key not in self._known:
            self._known[key] = True
            self._kept += [one, other]  # so that no other object gets their ids
            self._known[key] = compare()
        return self._known[key]


def _all(found: Iterable[bool | None]) -> bool | None:
    """Whether all are the same; ``None`` where some cannot be told and none is known to differ."""
    values = list(found)
    if False in values:
        return False
    return None if None in values else True


def _shapes(module: nn.Module) -> list[tuple[str, Any]]:
    """Parameters and buffers of the module itself, empty ones included."""
    held: dict[str, torch.Tensor | None] = {**module._parameters, **module._buffers}  # noqa: SLF001
    return [(key, value if value is None else (shape_of(value), value.dtype)) for key, value in held.items()]


def _function(value: Any) -> FunctionType | None:
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return value if isinstance(value, FunctionType) else None


def _members_of(cls: type, *, constructors: bool) -> Iterator[tuple[str, Any]]:
    """What instances see of a class."""
    for name, value in vars(cls).items():
        if name in {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__", "__static_attributes__"}:
            continue
        if name == "__init__" and not constructors:
            continue
        yield name, value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _code(code: CodeType) -> tuple[Any, ...]:
    """What a function does, without the lines it stands in."""
    constants = tuple(_code(each) if isinstance(each, CodeType) else (type(each).__name__, repr(each)) for each in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants
