"""Attention by ``scaled_dot_product_attention``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import fx

from normadvisor.graph.written import Written

__all__ = ["put_attention"]

_RANK = 4
"""Axes of what the kernels of ``scaled_dot_product_attention`` take: batch, heads, positions, features."""


def put_attention(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node]) -> fx.Node:
    """Add the call at the insertion point; tensors without an axis for heads get one for the time of the call."""
    rank = len(written.inputs["query"].meta["shape"])
    missing = _RANK - rank
    query, key, value = (_with_axes(graph, inputs[name], missing) for name in ("query", "key", "value"))
    given: dict[str, Any] = {"scale": written.arguments["scale"]} if "scale" in written.arguments else {}
    if "attn_mask" in inputs:
        given["attn_mask"] = _mask(graph, written, inputs, missing)
    result = graph.call_function(F.scaled_dot_product_attention, (query, key, value), given)
    return graph.call_method("squeeze", (result, 0)) if missing == 1 else result


def _with_axes(graph: fx.Graph, node: fx.Node, missing: int) -> fx.Node:
    return graph.call_method("unsqueeze", (node, 0)) if missing == 1 else node


def _mask(graph: fx.Graph, written: Written, inputs: Mapping[str, fx.Node], missing: int) -> fx.Node:
    mask = inputs["attn_mask"]
    if written.arguments.get("mask") == "drop":
        mask = graph.call_method("logical_not", (mask,))
    elif written.inputs["attn_mask"].meta["dtype"] != written.inputs["query"].meta["dtype"]:
        mask = graph.call_method("to", (mask, graph.call_function(getattr, (inputs["query"], "dtype"))))
    rank = len(written.inputs["attn_mask"].meta["shape"])
    return _with_axes(graph, mask, 1) if missing == 1 and rank == _RANK - 1 else mask
