"""What a node is computed from: the operations between it and one single operand that everything comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normadvisor.graph.written.model import Surroundings

if TYPE_CHECKING:
    from torch import fx

__all__ = ["Cone", "cones"]

MOST_NODES = 40
"""Longer expressions are not looked through: the longest known, GELU with its powers written out, has a dozen."""


@dataclass(frozen=True, slots=True)
class Cone:
    """All operations between ``source`` and ``root``; beside the source they read nothing but numbers and tensors of the model."""

    root: fx.Node
    source: fx.Node
    nodes: tuple[fx.Node, ...]
    """In the order of the graph, the root last."""
    tensors: tuple[fx.Node, ...]
    """Parameters and buffers that they read."""


def cones(root: fx.Node, around: Surroundings, admitted: Callable[[fx.Node], bool]) -> Iterator[Cone]:
    """Every cone of a node, the smallest first.

    Going back from the root, the latest node of those still open is looked through each time, so that whenever a single one is open, all
    paths lead through it. A node that something outside reads is not looked through: it would have to be computed all the same.

    Args:
        root: an admitted node.
        around: the graph.
        admitted: which operations may be looked through.

    """
    place = around.order.__getitem__
    inside = {root}
    open_nodes: set[fx.Node] = set()
    tensors: set[fx.Node] = set()

    def take(node: fx.Node) -> None:
        for source in node.all_input_nodes:
            (tensors if source.op == "get_attr" else open_nodes).add(source)

    take(root)
    while open_nodes:
        latest = max(open_nodes, key=place)
        if len(open_nodes) == 1:
            yield Cone(root, latest, tuple(sorted(inside, key=place)), tuple(sorted(tensors, key=place)))
        if len(inside) >= MOST_NODES or not admitted(latest) or any(user not in inside for user in latest.users):
            return
        open_nodes.remove(latest)
        inside.add(latest)
        take(latest)
