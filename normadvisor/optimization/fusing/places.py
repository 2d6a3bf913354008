"""Where a model has what could be fused, as its graph shows it: whether it can be done in fact is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.optimization.fusing.activations import activation

__all__ = ["GATES", "Place", "behind", "places", "silent"]

_ACTIVATED = frozenset({"group_norm", "batch_norm"})
_ROW_NORMS = frozenset({"layer_norm", "rms_norm"})
GATES = {"silu": "swiglu", "gelu": "geglu", "gelu_tanh": "geglu"}
"""Gated units by the activation of their gate."""


@dataclass(frozen=True, slots=True)
class Place:
    """Operations that follow one another and could be one."""

    rule: str
    pattern: str
    """Their names in canonical operations: ``batch_norm + add + relu``."""
    modules: tuple[str, ...]
    """The layer that leads, and the others."""
    scattered: bool = field(default=False, compare=False)
    """Whether they are called in the forwards of different modules."""


def places(graph: ModelGraph) -> Iterator[Place]:
    """All of them, in the order of the graph; what is computed inside of fused layers is none."""
    for node in graph.nodes:
        if node.attrs.get("fused") is True:
            continue
        if node.op in _ACTIVATED:
            yield from _activated(node, graph)
        elif node.op in _ROW_NORMS:
            yield from _summed(node, graph.nodes)
        elif node.op == "mul":
            yield from _gated(node, graph.nodes)


def _activated(norm: NodeInfo, graph: ModelGraph) -> Iterator[Place]:
    ahead = behind(norm, graph)
    added = ahead is not None and ahead.op == "add" and len(ahead.inputs) == 2 and norm.op == "batch_norm"
    if added and ahead is not None and _first_norm(ahead, graph) is not norm:
        return
    last = behind(ahead, graph) if added and ahead is not None else ahead
    known = activation(last.op, last.attrs) if last is not None and len(last.inputs) == 1 else None
    if known is not None and last is not None:
        pattern = f"{norm.op} + add + {known.name}" if added else f"{norm.op} + {known.name}"
        parts = [norm, last, *([ahead] if added and ahead is not None else [])]
        yield Place("NA702", pattern, tuple(dict.fromkeys((norm.module, last.module))), _scattered(*parts))


def _scattered(*nodes: NodeInfo) -> bool:
    """Whether operations are called in the forwards of different modules, as far as their names tell."""
    return len({node.module.rpartition(".")[0] if node.cls else node.module for node in nodes}) > 1


def _first_norm(add: NodeInfo, graph: ModelGraph) -> NodeInfo | None:
    """The batch norm whose output a sum adds something to: the first, where it adds up those of two."""
    for index in add.inputs:
        node = graph.nodes[index]
        while silent(node, graph) and node.inputs:
            node = graph.nodes[node.inputs[0]]
        if node.op == "batch_norm" and behind(node, graph) is add:
            return node
    return None


def _summed(norm: NodeInfo, nodes: Sequence[NodeInfo]) -> Iterator[Place]:
    source = nodes[norm.inputs[0]] if norm.inputs else None
    if source is not None and source.op == "add" and len(source.inputs) == 2 and _equal_shapes(source, nodes):
        yield Place("NA703", f"add + {norm.op}", (norm.module,), _scattered(source, norm))


def _gated(product: NodeInfo, nodes: Sequence[NodeInfo]) -> Iterator[Place]:
    if len(product.inputs) != 2 or not _equal_shapes(product, nodes):
        return
    for index in product.inputs:
        gate = nodes[index]
        known = activation(gate.op, gate.attrs)
        if known is not None and known.name in GATES and set(gate.users) == {product.index}:
            names = tuple(dict.fromkeys((product.module, gate.module)))
            yield Place("NA703", f"{known.name} * up", names, _scattered(product, gate))
            return


def _equal_shapes(node: NodeInfo, nodes: Sequence[NodeInfo]) -> bool:
    return len({nodes[index].shape for index in node.inputs}) == 1


def silent(node: NodeInfo, graph: ModelGraph) -> bool:
    """Whether an operation hands on what it gets, in the mode that was traced."""
    if node.op == "identity":
        return node.target.startswith("torch.nn.modules.")  # Not clone, detach or contiguous, which are there for a reason.
    return node.op.endswith("dropout") and (graph.mode == "eval" or node.attrs.get("p") == 0)


def behind(node: NodeInfo, graph: ModelGraph) -> NodeInfo | None:
    """The only operation that reads what ``node`` gives, whatever hands it on between them."""
    while True:
        users = set(node.users)
        if len(users) != 1:
            return None
        node = graph.nodes[users.pop()]
        if not silent(node, graph):
            return node
