"""Every place of a model where a layer stands: containers, attributes, and plain lists beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["Slots"]

_INTERNAL = frozenset(vars(nn.Module()))
_DEPTH, _LONG = 3, 10_000


class Slots:
    """Where the modules of one model stand; kept up to date while layers are put in place.

    ``Sequential``, ``ModuleList``, ``ModuleDict`` and attributes are all entries of a parent's ``_modules``. A shared layer stands in
    several. Beside them code may hold the same layer in a plain attribute, list or dictionary, which is found up to three levels deep.
    """

    def __init__(self, model: nn.Module) -> None:
        self._held: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
        self._plain: dict[int, list[tuple[Any, Any, str]]] = defaultdict(list)
        self._names = {id(module): name for name, module in reversed(list(model.named_modules()))}
        for parent in model.modules():
            for key, child in parent._modules.items():  # noqa: SLF001
                if child is not None:
                    self._held[id(child)].append((parent, key))
            for name, value in vars(parent).items():
                if name not in _INTERNAL:
                    where = f"{name} of {self._names[id(parent)] or 'the model'}"
                    for container, key, found in _references(vars(parent), name, value, _DEPTH):
                        self._plain[id(found)].append((container, key, where))

    def of(self, layer: nn.Module) -> list[tuple[nn.Module, str]]:
        """Parents and keys, in the order in which the parents come."""
        return list(self._held[id(layer)])

    def parent(self, layer: nn.Module) -> nn.Module | None:
        """The first module that holds ``layer``; ``None`` for the model itself."""
        held = self._held[id(layer)]
        return held[0][0] if held else None

    def in_plain_sight(self, layer: nn.Module) -> str:
        """Which plain attribute holds ``layer`` beside the containers, empty if none does."""
        return next((where for _, _, where in self._plain[id(layer)]), "")

    def replace(self, pairs: Sequence[tuple[nn.Module, nn.Module]], journal: Journal) -> None:
        """Put the second of each pair wherever the first stands, all at once, so that two may trade places.

        Raises:
            CannotChange: a place cannot be written to.

        """
        for old, _ in pairs:
            self._check(old)
        held = [(new, self._held.pop(id(old), []), self._plain.pop(id(old), [])) for old, new in pairs]
        for new, slots, plain in held:
            for parent, key in slots:
                journal.set_item(parent._modules, key, new)  # noqa: SLF001
            for container, key, _ in plain:
                journal.set_item(container, key, new)
            self._held[id(new)] += slots
            self._plain[id(new)] += plain

    def hold(self, new: nn.Module) -> None:
        """Take notice of a new module that holds others."""
        for parent in new.modules():
            for key, child in parent._modules.items():  # noqa: SLF001
                if child is not None and (parent, key) not in self._held[id(child)]:
                    self._held[id(child)].append((parent, key))

    def put(self, parent: nn.Module, key: str, new: nn.Module, journal: Journal) -> None:
        """Put ``new`` in a single place."""
        old = parent._modules[key]  # noqa: SLF001
        self._held[id(old)].remove((parent, key))
        journal.set_item(parent._modules, key, new)  # noqa: SLF001
        self._held[id(new)].append((parent, key))

    def _check(self, layer: nn.Module) -> None:
        if not self._held[id(layer)]:
            raise CannotChange("the layer is the model itself, and there is no place to put another one")
        for parent, key in self._held[id(layer)]:
            if isinstance(parent, torch.jit.ScriptModule):
                raise CannotChange(f"{key} stands in a scripted module, which cannot be changed; change the model before it is scripted")
        for container, _, where in self._plain[id(layer)]:
            if not isinstance(container, dict | list):
                raise CannotChange(f"the layer also stands in {where}, which cannot be written to")


def _references(container: Any, key: Any, value: Any, depth: int) -> Iterator[tuple[Any, Any, nn.Module]]:
    """Modules at ``container[key]``, which is ``value``, or in collections there."""
    if isinstance(value, nn.Module):
        yield container, key, value
    elif depth and isinstance(value, list | tuple | Mapping) and len(value) <= _LONG:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for inner, member in items:
            yield from _references(value, inner, member, depth - 1)
