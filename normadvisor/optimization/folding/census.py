"""How many norms of a model can be folded, and why the others cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.search import Fold, Unfoldable, search

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Census", "census"]


@dataclass(frozen=True, slots=True)
class Census:
    """The norms and constant factors of one model."""

    legal: tuple[Fold, ...]
    """Those that the layers beside them can take up: exact in real numbers, whatever the input and whatever the numbers of both."""
    refused: tuple[Unfoldable, ...]
    """Those that cannot be, each with the reason. Some of them are taken up when parallel branches are merged."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of each layer and the norm that it takes up."""
        return tuple((share.layer.name, fold.affine.name) for fold in self.legal for share in fold.shares)


def census(model: nn.Module, graph: ModelGraph, inputs: Arguments | None = None) -> Census:
    """Count; nothing is changed, and no numbers are looked at.

    Args:
        model: on any device, the meta device included.
        graph: its trace in eval mode.
        inputs: to find calls in a forward, too, such as ``F.batch_norm``; without them these are refused.

    """
    found = list(search(Flow(model, graph, inputs)))
    return Census(tuple(each for each in found if isinstance(each, Fold)), tuple(each for each in found if isinstance(each, Unfoldable)))
