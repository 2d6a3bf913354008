"""Finds in a graph what is written out by hand although torch has one function for it: activations, normalizations, attention."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from normadvisor.graph.written.attention import attention_at
from normadvisor.graph.written.elementwise import activation_at
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.norms import norm_at

__all__ = ["Written", "written_in"]


def written_in(graph: fx.Graph, model: nn.Module) -> list[Written]:
    """Everything in a graph that is written out by hand, in its order; what is part of something larger is left out.

    Args:
        graph: of a whole model, or of one module alone; shapes are read from the tracer's notes or from ``node.meta["shape"]``.
        model: what the graph's targets are relative to.

    """
    around = Surroundings(graph, model)
    known: dict[Any, Any] = {}
    taken: set[fx.Node] = set()
    found: list[Written] = []
    for node in reversed(graph.nodes):
        if node in taken:
            continue
        written = activation_at(node, around, known) or norm_at(node, around) or attention_at(node, around)
        if written is not None:
            found.append(written)
            taken.update(written.nodes)
    return found[::-1]
