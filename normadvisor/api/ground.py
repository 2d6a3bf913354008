"""What a safe fix of a live model rests on: the norms that take the constant out again which it leaves out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from normadvisor.types import Operation, OperationKind

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph

__all__ = ["norms_behind"]


def norms_behind(graph: ModelGraph, operations: Iterable[Operation]) -> set[str]:
    """Names of the first norms on every way from the layers that an operation takes the bias of.

    Args:
        graph: of the model as it is.
        operations: of one fix; those that do something else rest on no norm.

    """
    from normadvisor.graph.canonical import NORMS

    layers = {each.part.module for each in operations if each.kind is OperationKind.SET_ARGUMENT and each.argument == "bias"}
    waiting = deque(node for node in graph.nodes if node.cls and node.module in layers)
    seen = {node.index for node in waiting}
    found: set[str] = set()
    while waiting:
        for index in waiting.popleft().users:
            user = graph.nodes[index]
            if index in seen:
                continue
            seen.add(index)
            if user.op in NORMS:
                found.add(user.module)
            elif not user.attrs.get("out_width"):
                waiting.append(user)
    return found
