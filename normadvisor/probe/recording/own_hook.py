"""Hooks that stay behind when a model is copied or saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["OwnHook"]


class OwnHook:
    """A hook that calls ``function``; in a copy of the model, and in a file that it is saved to, one that does nothing.

    Modules are copied and pickled with their hooks, and hooks with everything that they hold on to: a moving average of a model would go
    on measuring, and one whose log is an open file could not be copied at all.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return None if self._function is None else self._function(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnHook:
        return OwnHook()

    def __reduce__(self) -> tuple[type[OwnHook], tuple[()]]:
        return OwnHook, ()
