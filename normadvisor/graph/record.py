"""What a tracer writes beside every fx node, for :mod:`normadvisor.graph.build` to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.graph.values import tensors_in

if TYPE_CHECKING:
    from torch import fx

    from normadvisor.graph.leaves import Leaf
    from normadvisor.types import Site

__all__ = ["KEY", "MANY", "NOTHING", "TENSOR", "Note", "note_of"]

KEY = "normadvisor"
"""Key of the note in ``fx.Node.meta``."""

NOTHING, TENSOR, MANY = 0, 1, 2
"""What a node's value is: no tensor, one tensor, a collection that holds tensors."""


@dataclass(slots=True)
class Note:
    """Where a node comes from and what its value looks like."""

    path: str
    """Qualified name of the leaf module, or of the innermost module whose ``forward`` made the call."""
    leaf: Leaf | None = None
    site: Site | None = None
    training: bool | None = None
    kind: int | None = None
    """:data:`NOTHING`, :data:`TENSOR`, :data:`MANY`, or None when no shapes were computed."""
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    in_place: bool = False

    def fill(self, value: Any) -> None:
        """Take kind, shape and dtype from the value itself."""
        if isinstance(value, torch.Tensor):
            self.kind = TENSOR
            first: torch.Tensor | None = value
        else:
            first = next(tensors_in(value), None)
            self.kind = NOTHING if first is None else MANY
        if first is not None:
            self.shape = _shape(first)
            self.dtype = str(first.dtype).removeprefix("torch.")


def _shape(tensor: torch.Tensor) -> tuple[int, ...] | None:
    try:
        return tuple(int(size) for size in tensor.shape)
    except Exception:  # noqa: BLE001 -- data-dependent (unbacked) sizes raise several private error types
        return None


def note_of(node: fx.Node) -> Note:
    """The note of a node."""
    note = node.meta.get(KEY)
    if note is None:
        note = node.meta[KEY] = Note("")
    return note
