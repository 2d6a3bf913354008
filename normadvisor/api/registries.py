"""Takes what forgotten modules have registered with installed packages out again, so that importing them anew can register it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["unregister"]

_NEVER = frozenset({"__main__", "libcst", "normadvisor", "numpy", "sympy", "torch", *sys.stdlib_module_names})
"""Packages without registries of models."""


def unregister(forgotten: Collection[str]) -> int:
    """Delete entries of dictionaries that hold classes and functions of certain modules.

    Looked through are dictionaries that are global in a module of an installed package, such as torchvision's table of models, and those
    that an object which is global there has as an attribute, such as the registries of detectron2 and mmengine: many refuse a name that
    they have already.

    Args:
        forgotten: names of modules that are not in ``sys.modules`` any more.

    Returns:
        How many entries were deleted.

    """
    gone = frozenset(forgotten)
    if not gone:
        return 0
    deleted = 0
    for table in _tables():
        held = [key for key, value in list(table.items()) if isinstance(value, type | FunctionType) and value.__module__ in gone]
        for key in held:
            del table[key]
        deleted += len(held)
    return deleted


def _tables() -> Iterator[dict[Any, Any]]:
    seen: set[int] = set()
    modules: dict[str, object] = dict(sys.modules)  # a module may have put something else in its place
    for name, module in modules.items():
        if not isinstance(module, ModuleType) or name.partition(".")[0] in _NEVER:
            continue
        for key, value in list(vars(module).items()):
            if id(value) in seen or key.startswith("__"):
                continue
            seen.add(id(value))
            if type(value) is dict:
                yield value
            elif _may_be_registry(value):
                yield from (table for table in list(value.__dict__.values()) if type(table) is dict)


def _may_be_registry(value: object) -> bool:
    """Whether something is an object of a class of an installed package."""
    if isinstance(value, type | ModuleType | FunctionType):
        return False
    return type(value).__module__.partition(".")[0] not in _NEVER and isinstance(getattr(value, "__dict__", None), dict)
