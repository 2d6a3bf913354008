"""Finds in a graph what is written out by hand although torch has one function for it: activations, normalizations, attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.graph.written.layers import written_by
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.search import search

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["Written", "written_by", "written_in"]


def written_in(graph: fx.Graph, model: nn.Module) -> list[Written]:
    """Everything in a graph that is written out by hand, in its order; what is part of something larger is left out.

    Args:
        graph: of a whole model, or of one module alone; shapes are read from the tracer's notes or from ``node.meta["shape"]``.
        model: what the graph's targets are relative to.

    """
    return search(Surroundings(graph, model))
