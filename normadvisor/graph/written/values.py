"""Runs a few nodes of a graph on numbers of our own, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.written.model import Surroundings, name_of

__all__ = ["CASTS", "computed"]

CASTS = frozenset({"to", "float", "double", "half", "bfloat16", "type", "type_as", "contiguous", "clone", "detach"})
"""Left out when values are computed: in double precision there is nothing to convert, and values stay where they are."""
_DROPPING = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"})


def computed(nodes: Iterable[fx.Node], given: Mapping[fx.Node, Any], around: Surroundings) -> dict[fx.Node, Any] | None:
    """Values of nodes, in eval mode.

    Args:
        nodes: in the order of the graph.
        given: what they start from, parameters included.
        around: the graph.

    Returns:
        The values, those given included; ``None`` where an operation refuses them.

    """
    values = dict(given)
    try:
        with torch.no_grad(), torch.device("cpu"):
            for node in nodes:
                if node not in values:
                    values[node] = _value(node, values, around)
    except Exception:  # noqa: BLE001 -- operations of any kind on numbers that they may not be meant for
        return None
    return values


def _value(node: fx.Node, values: Mapping[fx.Node, Any], around: Surroundings) -> Any:
    args: Any = fx.node.map_arg(node.args, lambda source: values[source])
    kwargs: Any = {key: _lifted(fx.node.map_arg(value, lambda source: values[source])) for key, value in node.kwargs.items()}
    name = name_of(node)
    if isinstance(args[0] if args else None, torch.Tensor) and (name in CASTS or name in _DROPPING):
        return args[0]
    if node.op == "call_module":
        module = around.module(node)
        if isinstance(module, nn.Dropout | nn.Identity):
            return args[0]
        if module is None or next(module.parameters(), None) is not None:
            raise ValueError(node.target)
        return copy.deepcopy(module).eval()(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op != "call_function":
        raise ValueError(node.op)
    target: Any = node.target
    return target(*args, **kwargs)


def _lifted(value: Any) -> Any:
    """A dtype that results are asked for in: the one that everything is computed in."""
    return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value
