"""Whether two models are the same code around the modules that differ."""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from normadvisor.rewrite.proof.state import named_modules

__all__ = ["same_outside"]


def same_outside(original: nn.Module, changed: nn.Module, names: Sequence[str]) -> bool:
    """Whether everything but the modules of these names is built alike and runs the same code.

    Compared are names, classes, settings as they are printed, shapes, and the compiled methods of every class, so that an edit which
    reaches further than it should is not missed where only the modules that were meant to change are run.
    """
    before, after = dict(_around(original, names)), dict(_around(changed, names))
    if before.keys() != after.keys():
        return False
    alike: dict[tuple[type, type], bool] = {}
    for name, module in before.items():
        other = after[name]
        kinds = (type(module), type(other))
        if kinds not in alike:
            alike[kinds] = _code_of(kinds[0]) == _code_of(kinds[1])
        if not alike[kinds] or module.extra_repr() != other.extra_repr() or _shapes(module) != _shapes(other):
            return False
    return True


def _around(model: nn.Module, names: Sequence[str]) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in named_modules(model) if not any(f"{name}.".startswith(f"{each}.") for each in names)]


def _shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...] | None]]:
    held = {**module._parameters, **module._buffers}  # noqa: SLF001 -- those of the module itself, empty ones included
    return [(key, None if value is None else tuple(value.shape)) for key, value in held.items()]


def _code_of(cls: type) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Methods of a class and those it inherits from, without the lines they stand in."""
    return [
        (each.__qualname__, [(name, _code(held.__code__)) for name, held in vars(each).items() if isinstance(held, FunctionType)])
        for each in cls.__mro__
        if each is not nn.Module
    ]


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_code(each) if isinstance(each, CodeType) else (type(each).__name__, repr(each)) for each in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants
