"""What was changed, so that all of it can be taken back."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch

__all__ = ["Journal"]

_NOTHING = object()


class Journal:
    """Makes changes one by one and undoes them in the opposite order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def did(self, undo: Callable[[], object]) -> None:
        """Note how to take back something that was done."""
        self._undo.append(undo)

    def set_item(self, mapping: MutableMapping[Any, Any] | list[Any], key: Any, value: Any) -> None:
        """``mapping[key] = value``; the order of existing keys stays."""
        if isinstance(mapping, list):
            self.did(lambda old=mapping[key]: mapping.__setitem__(key, old))  # type: ignore[misc]
        else:
            old = mapping.get(key, _NOTHING)
            self.did(lambda: mapping.pop(key, None) if old is _NOTHING else mapping.__setitem__(key, old))
        mapping[key] = value

    def set_list(self, held: list[Any], values: list[Any]) -> None:
        """Give a list other members; the list stays the same object."""
        before = list(held)
        self.did(lambda: held.__setitem__(slice(None), before))
        held[:] = values

    def pop(self, mapping: MutableMapping[Any, Any], key: Any) -> None:
        """Take a key out of a mapping whose order does not matter, if it is there."""
        if key in mapping:
            old = mapping.pop(key)
            self.did(lambda: mapping.__setitem__(key, old))

    def set_value(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Write other numbers into a tensor, which stays the same object."""
        with torch.no_grad():
            before = tensor.clone()
            tensor.copy_(value)

        def undo() -> None:
            with torch.no_grad():
                tensor.copy_(before)

        self.did(undo)

    def undo(self) -> None:
        """Take everything back; a second call does nothing."""
        while self._undo:
            self._undo.pop()()
