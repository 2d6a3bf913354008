"""Keep ``torch._dynamo`` from being imported for the sake of computing a shape.

The kernels that compute shapes on the meta device are Python functions which torch wraps so that its compiler leaves them alone.
Whichever is called first imports the compiler for that, which takes longer than everything else a check of a model does, though
nothing is compiled. While :func:`without_compiler` is entered, a stand-in answers that one question.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["StandIn", "without_compiler"]

_NAME = "torch._dynamo"


class StandIn(ModuleType):
    """Knows ``disable``; for anything else it makes way for the real module."""

    def disable(self, function: Callable[..., Any], *settings: Any, **named: Any) -> Callable[..., Any]:
        """``function`` as it is until the compiler is there, then kept from it. The settings differ from one torch to the next."""
        kept: list[Callable[..., Any]] = []

        def run(*args: Any, **kwargs: Any) -> Any:
            if not kept:
                real = sys.modules.get(_NAME)
                if real is None or isinstance(real, StandIn):
                    return function(*args, **kwargs)
                kept.append(real.disable(function, *settings, **named))
            return kept[0](*args, **kwargs)

        return run

    def __getattr__(self, name: str) -> Any:
        if name in {"__file__", "__wrapped__"}:
            raise AttributeError(name)
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        return getattr(import_module(_NAME), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """No import of the compiler unless the traced code itself asks for it."""
    if _NAME in sys.modules:
        yield
        return
    stand_in = StandIn(_NAME)
    sys.modules[_NAME] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_NAME) is stand_in:
            del sys.modules[_NAME]
        torch = sys.modules["torch"]
        if vars(torch).get("_dynamo") is stand_in:
            delattr(torch, "_dynamo")
