"""Attention by ``scaled_dot_product_attention``."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from normadvisor.graph.written import Written

__all__ = ["put_attention"]

_RANK = 4
"""Axes of what the kernels of ``scaled_dot_product_attention`` take: batch, heads, positions, features."""

_CASTS = frozenset({"bfloat16", "double", "float", "half", "to", "type", "type_as"})


def put_attention(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node]) -> fx.Node:
    """Add the call at the insertion point; tensors without an axis for heads get one for the time of the call."""
    arguments: Any = written.arguments
    operands = {}
    for name in ("query", "key", "value"):
        axes = arguments.get(f"{name}_axes")
        operands[name] = inputs[name] if axes is None else graph.call_method("permute", (inputs[name], *axes))
    if "factor" in inputs:
        function = operator.mul if arguments["factor"] == "mul" else operator.truediv
        operands["query"] = graph.call_function(function, (operands["query"], inputs["factor"]))
    is_short = len(_shape(written, "query")) == _RANK - 1
    if is_short:
        operands = {name: graph.call_method("unsqueeze", (node, 0)) for name, node in operands.items()}
    given: dict[str, Any] = {name: arguments[name] for name in ("scale", "is_causal") if name in arguments}
    if "scale" not in given and "scaled_by" not in arguments:
        axes = arguments.get("query_axes")
        given["scale"] = _shape(written, "query")[-1 if axes is None else axes[-1]] ** -0.5  # a number in the source, whatever the width
    mask = _mask(graph, written, inputs)
    if mask is not None:
        given["attn_mask"] = mask
    value, is_cast = operands["value"], any(_casts(inputs[name]) for name in operands)
    if is_cast:
        operands |= {name: _like(graph, operands[name], operands["query"]) for name in ("key", "value")}
    result = graph.call_function(F.scaled_dot_product_attention, tuple(operands.values()), given)
    if is_cast:
        result = _like(graph, result, value)
    if is_short:
        result = graph.call_method("squeeze", (result, 0))
    axes = arguments.get("output_axes")
    return result if axes is None else graph.call_method("permute", (result, *axes))


def _casts(node: fx.Node) -> bool:
    """Whether the source changes a dtype here: in the dtype that was traced that may be none, and in another one is."""
    return node.op == "call_method" and node.target in _CASTS


def _like(graph: fx.Graph, node: fx.Node, other: fx.Node) -> fx.Node:
    return graph.call_method("to", (node, graph.call_function(getattr, (other, "dtype"))))


def _shape(written: Written, name: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = written.inputs[name].meta["shape"]
    return shape


def _mask(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node]) -> fx.Node | None:
    """All masks in one: of booleans where a single one takes scores away altogether, else what is added to the scores.

    Scores that become a large negative number rather than minus infinity leave a row that is masked throughout evenly weighted, so that
    number is added to them.
    """
    arguments: Any = written.arguments
    if "mask" not in arguments:
        return None
    kinds = arguments["mask"].split("+")
    fills = arguments.get("fill", [None] * len(kinds))
    names = ["attn_mask", *(f"attn_mask_{number}" for number in range(1, len(kinds)))]
    if len(kinds) == 1 and fills[0] == "-inf":
        mask = inputs["attn_mask"]
        return graph.call_method("logical_not", (mask,)) if kinds[0] == "drop" else mask
    total: fx.Node | None = None
    for name, kind, fill in zip(names, kinds, fills, strict=True):
        part = _added(graph, written, inputs, name, kind, fill)
        total = part if total is None else graph.call_function(operator.add, (total, part))
    return total


def _added(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node], name: str, kind: str, fill: Any) -> fx.Node:
    """What a mask adds to the scores, in the dtype of the queries."""
    mask, query = inputs[name], inputs["query"]
    if kind in {"add", "subtract"}:
        if written.inputs[name].meta["dtype"] != written.inputs["query"].meta["dtype"]:
            mask = graph.call_method("to", (mask, graph.call_function(getattr, (query, "dtype"))))
        return mask if kind == "add" else graph.call_function(operator.neg, (mask,))
    dropped = mask if kind == "drop" else graph.call_method("logical_not", (mask,))
    zeros = graph.call_function(torch.zeros_like, (mask,), {"dtype": graph.call_function(getattr, (query, "dtype"))})
    return graph.call_method("masked_fill", (zeros, dropped, _fill(graph, written, query, fill)))


def _fill(graph: fx.Graph, written: Written, query: fx.Node, fill: Any) -> Any:
    """The number that stands for no attention; the least one of a dtype is that of the dtype at run time."""
    if fill == "-inf":
        return -math.inf
    if fill != torch.finfo(written.inputs["query"].meta["dtype"]).min:
        return fill
    limits = graph.call_function(torch.finfo, (graph.call_function(getattr, (query, "dtype")),))
    return graph.call_function(getattr, (limits, "min"))
