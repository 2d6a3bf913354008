"""The search itself, over the nodes of one graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from normadvisor.graph.written.attention import attention_at
from normadvisor.graph.written.elementwise import activation_at
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.norms import norm_at

__all__ = ["search"]


def search(around: Surroundings) -> list[Written]:
    """Everything in a graph that is written out by hand, in its order; what is part of something larger is left out."""
    known: dict[Any, Any] = {}
    taken: set[fx.Node] = set()
    found: list[Written] = []
    with torch.device("cpu"):  # values are needed, whatever device the caller builds its tensors on
        for node in reversed(around.graph.nodes):
            if node in taken:
                continue
            written = activation_at(node, around, known) or norm_at(node, around) or attention_at(node, around)
            if written is not None:
                found.append(written)
                taken.update(written.nodes)
    return found[::-1]
