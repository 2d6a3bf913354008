"""Writes the function of torch that stands for what was written out into a graph."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from normadvisor.graph.written import Written
from normadvisor.optimization.upgrades.attending import put_attention

__all__ = ["put", "told"]

_NORMS = frozenset({"layer_norm", "rms_norm"})


def put(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node]) -> fx.Node:
    """Add the calls at the insertion point of ``graph``.

    Args:
        graph: any.
        written: what they stand for.
        inputs: nodes of ``graph`` in the place of those of ``written``, by the same names.

    Returns:
        The node of the result.

    """
    if written.op in _NORMS:
        return _norm(graph, written, inputs)
    if written.op == "attention":
        return put_attention(graph, written, inputs)
    return graph.call_function(_function(written), (inputs["input"],), dict(written.arguments))


def told(written: Written) -> str:
    """What takes the place, in words: ``F.rms_norm``."""
    name = "F." + written.function.rpartition(".")[2]
    return f"{name} over permuted axes" if written.op in _NORMS and not _are_last(written) else name


def _function(written: Written) -> Any:
    found: Any = torch
    for part in written.function.split(".")[1:]:
        found = getattr(found, part)
    return found


def _are_last(written: Written) -> bool:
    axes: Any = written.arguments["axes"]
    return bool(axes[-1] == len(_shape(written.inputs["input"])) - 1)


def _shape(node: fx.Node) -> tuple[int, ...]:
    value: tuple[int, ...] = node.meta["shape"]
    return value


def _norm(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node]) -> fx.Node:
    """The sizes are those of the weight where it has them, and those of the tensor when the model runs where it does not."""
    arguments: Any = written.arguments
    shape, (first, *_) = tuple(arguments["normalized_shape"]), arguments["axes"]
    sizes: Any = shape
    given: dict[str, Any] = {"eps": arguments["eps"]}
    for name in ("weight", "bias"):
        if name in inputs:
            node = inputs[name]
            given[name] = node if _shape(written.inputs[name]) == shape else graph.call_method("reshape", (node, shape))
    x = inputs["input"]
    ahead = x if _are_last(written) else graph.call_method("movedim", (x, first, -1))
    if "sizes" in arguments:
        sizes = graph.call_function(operator.getitem, (graph.call_function(getattr, (ahead, "shape")), slice(-len(shape), None)))
    normed = graph.call_function(_function(written), (ahead, sizes), given)
    return normed if ahead is x else graph.call_method("movedim", (normed, -1, first))
