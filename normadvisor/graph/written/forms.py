"""What some operations compute, without the names of their nodes: equal for the same code in every block of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx

from normadvisor.graph.written.model import Surroundings

__all__ = ["form_of"]


def form_of(nodes: Iterable[fx.Node], given: Mapping[fx.Node, Any], around: Surroundings) -> tuple[Any, ...]:
    """A key that is equal where the same operations are done to operands that are told alike.

    Args:
        nodes: the operations, in the order of the graph.
        given: the operands from outside, each with what tells it apart from others: its name, or its shape, or its value.
        around: the graph.

    """
    inside = list(nodes)
    places = {node: position for position, node in enumerate(inside)}

    def named(node: fx.Node) -> str:
        return f"%{places[node]}" if node in places else f"${given.get(node)!r}"

    def call(node: fx.Node) -> tuple[str, str, str]:
        module = around.module(node)
        target = f"{node.op} {node.target}" if module is None else repr(module)
        return target, repr(fx.node.map_arg(node.args, named)), repr(fx.node.map_arg(dict(node.kwargs), named))

    return tuple(call(node) for node in inside)
