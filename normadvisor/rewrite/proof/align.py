"""Which key became which between a model and the model built from its edited source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normadvisor.rewrite.keys import KeyMap

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.types.operation import Operation

__all__ = ["align"]


def align(original: nn.Module, changed: nn.Module, operations: Sequence[Operation], graph: ModelGraph) -> KeyMap:
    """Find what became of every key of ``original``."""
    raise NotImplementedError
