"""What the keys of a model say before and after layers were put in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.keys import Fold, KeyMap

__all__ = ["State"]


@dataclass(frozen=True, slots=True)
class State:
    """The keys of a model and the very tensors behind them."""

    values: Mapping[str, Any]
    owned: frozenset[int] = field(default_factory=frozenset)
    """Identities of the model's parameters and buffers; what a hook makes up is compared by name."""

    @classmethod
    def of(cls, model: nn.Module) -> State:
        """As ``state_dict`` calls them, hooks of the model's own included."""
        owned = frozenset(id(value) for value in (*model.parameters(), *model.buffers()))
        try:
            values = model.state_dict(keep_vars=True)
        except TypeError:  # a method of the model's own that takes no arguments
            values = nn.Module.state_dict(model, keep_vars=True)
        return cls(values, owned)

    def tokens(self, origins: Mapping[int, int]) -> dict[str, object]:
        """By key something that is equal for equal contents: the identity of the tensor, or of the one that it was copied from."""
        return {
            key: origins.get(id(value), id(value)) if isinstance(value, torch.Tensor) and id(value) in self.owned else key
            for key, value in self.values.items()
        }

    def to(self, after: State, origins: Mapping[int, int], folded: tuple[Fold, ...] = ()) -> KeyMap:
        """Which key became which.

        Args:
            after: the state of the same model later; both must be alive, so that identities are not used again.
            origins: identity of a new tensor to that of the one that its numbers came from.
            folded: what was folded before anything moved.

        """
        old, new = self.tokens(origins), after.tokens(origins)
        free: dict[object, list[str]] = defaultdict(list)
        for key, token in new.items():
            if old.get(key, new) != token:
                free[token].append(key)
        renamed: dict[str, str] = {}
        dropped: list[str] = []
        for key, token in old.items():
            if new.get(key, old) == token:
                continue
            if free[token]:
                renamed[key] = free[token].pop(0)
            else:
                dropped.append(key)
        known = {token: key for key, token in reversed(old.items())}
        left = [(key, token) for token, keys in free.items() for key in keys]
        copied = {key: known[token] for key, token in left if token in known}
        fresh = {key for key, _ in left if key not in copied}
        return KeyMap(
            renamed=renamed,
            dropped=tuple(dropped),
            added=tuple(key for key in new if key in fresh),
            folded=folded,
            copied=copied,
        )
