"""Writes what is computed by hand into the nodes that rules read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from normadvisor.graph.record import note_of
from normadvisor.graph.written.layers import written_by
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.search import search
from normadvisor.types import GROUPS

if TYPE_CHECKING:
    from normadvisor.graph.model import NodeInfo
    from normadvisor.types import JSONValue

__all__ = ["note_written"]

_FUNCTIONS = frozenset(GROUPS["activation"]) | frozenset(GROUPS["softmax_like"]) | {"layer_norm", "rms_norm"}
"""What a layer may be recognised as that torch has a function for, and that is not written out for the sake of its statistics."""
_SHOWN = frozenset({"approximate", "eps", "negative_slope", "alpha", "normalized_shape", "scale", "dim"})


def note_written(nodes: Sequence[NodeInfo], graph: fx.Graph, model: nn.Module) -> None:
    """Give nodes that end something written out by hand the attributes ``computes``, ``function``, ``operations`` and its arguments.

    Args:
        nodes: of the graph.
        graph: the recorded graph.
        model: the model.

    """
    by_name = {node.name: node for node in nodes}
    for found in search(Surroundings(graph, model)):
        if (node := by_name.get(found.root.name)) is not None:
            _note(node, found)
    layers: dict[Any, Written | None] = {}
    for recorded in graph.nodes:
        note = note_of(recorded)
        node = by_name.get(recorded.name)
        if note.leaf is None or not note.leaf.recognised or note.leaf.op not in _FUNCTIONS or node is None or node.in_shape is None:
            continue
        module = model.get_submodule(note.path)
        key = (type(module), node.in_shape, repr(sorted(_settings(module).items())), tuple(tuple(p.shape) for p in module.parameters()))
        if key not in layers:
            dtype = getattr(torch, node.dtype or "float32", torch.float32)
            layers[key] = written_by(module, node.in_shape, dtype)
        written = layers[key]
        if written is not None:
            _note(node, written)


def _settings(module: nn.Module) -> dict[str, Any]:
    plain = (int, float, str, bool, tuple, type(None))
    return {name: value for name, value in vars(module).items() if name != "training" and isinstance(value, plain)}


def _note(node: NodeInfo, found: Written) -> None:
    shown: Mapping[str, JSONValue] = {name: value for name, value in found.arguments.items() if name in _SHOWN}
    extra: dict[str, JSONValue] = {"computes": found.op, "function": found.function, "operations": found.operations}
    if _is_permuted(found):
        extra["permuted"] = True
    if found.refused:
        extra["obstacle"] = found.refused
    node.attrs = {**shown, **node.attrs, **extra}


def _is_permuted(found: Written) -> bool:
    """Whether the function has its axes elsewhere: those that are normalized over last, and heads ahead of positions."""
    axes, shape = found.arguments.get("axes"), note_of(found.root).shape
    moved = isinstance(axes, list) and shape is not None and axes != list(range(len(shape) - len(axes), len(shape)))
    return moved or any(name.endswith("_axes") for name in found.arguments)
