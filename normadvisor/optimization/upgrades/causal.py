"""Masks that leave out what comes later: ``scaled_dot_product_attention`` takes a flag for them, and skips half of the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.written import Written
from normadvisor.optimization.forward import LocalGraph

__all__ = ["with_causal_flag"]

_OF_MASKS = frozenset({
    "getitem", "eq", "ne", "lt", "gt", "le", "ge", "logical_not", "invert", "bool", "to", "unsqueeze", "tril", "triu", "ones", "zeros",
    "full",
})  # fmt: skip
"""What causal masks are made with."""


def with_causal_flag(local: LocalGraph, written: Written) -> Written:
    """The same with argument ``is_causal`` instead of the mask, where the mask is one for every number of positions."""
    arguments = dict(written.arguments)
    made = _made_by(written.inputs["attn_mask"]) if arguments.get("mask") in {"drop", "keep"} else None
    order = {node: index for index, node in enumerate(local.graph.nodes)}
    if made is None or not _is_causal(local, written, sorted(made, key=order.__getitem__)):
        return written
    for name in ("mask", "fill"):
        arguments.pop(name, None)
    inputs = {name: node for name, node in written.inputs.items() if name != "attn_mask"}
    nodes = sorted({*written.nodes, *(node for node in made if node.op != "get_attr")}, key=order.__getitem__)
    return replace(written, inputs=inputs, arguments={**arguments, "is_causal": True}, nodes=tuple(nodes))


def _is_causal(local: LocalGraph, written: Written, nodes: list[fx.Node]) -> bool:
    positions = [written.inputs[name].meta["shape"][-2] for name in ("query", "key")]
    drops = written.arguments["mask"] == "drop"
    for whole in (False, True):
        mask = _computed(local, nodes, whole=whole)
        if mask is None or mask.dim() < 2 or mask.numel() != mask.shape[-1] * mask.shape[-2]:
            return False
        dropped = mask.reshape(mask.shape[-2:]) if drops else ~mask.reshape(mask.shape[-2:])
        fits = len(dropped) > 1 and (whole or list(dropped.shape) == positions)  # one row shows nothing
        if not fits or not torch.equal(dropped, torch.ones_like(dropped).triu(1)):
            return False
    return True


def _made_by(mask: fx.Node) -> list[fx.Node] | None:
    """The tensors that a mask is made of, itself included; ``None`` if something else than numbers and buffers goes into it."""
    found: dict[fx.Node, None] = {}
    waiting = [mask]
    while waiting:
        node = waiting.pop()
        if node in found or not isinstance(node.meta.get("value"), torch.Tensor):
            continue
        found[node] = None
        if node.op == "get_attr":
            continue
        if node.op not in {"call_function", "call_method"} or _name(node) not in _OF_MASKS or not _from_the_start(node):
            return None
        waiting += node.all_input_nodes
    return list(found)


def _name(node: fx.Node) -> str:
    return base_name(spelling(node.target)[0])[0]


def _from_the_start(node: fx.Node) -> bool:
    """Whether slices begin at the first position and leave none out, so that they do the same for any number of positions."""
    if _name(node) in {"tril", "triu"}:  # a diagonal that hangs on sizes is another one for queries that follow earlier ones
        return not any(isinstance(each, fx.Node) for each in (*node.args[1:], *node.kwargs.values()))
    if _name(node) != "getitem":
        return True
    index = node.args[1]
    parts: list[Any] = list(index) if isinstance(index, tuple) else [index]
    slices = [part for part in parts if isinstance(part, slice)]
    return all(part.start in {None, 0} and part.step is None for part in slices) and not any(isinstance(part, fx.Node) for part in parts)


def _computed(local: LocalGraph, nodes: list[fx.Node], *, whole: bool) -> torch.Tensor | None:
    """The mask for as many positions as were recorded, or for as many as its buffers have room for."""
    env: dict[fx.Node, Any] = {}
    try:
        for node in nodes:
            env[node] = _value(local, node, env, whole=whole)
    except Exception:  # noqa: BLE001 -- operations on values that they may not be meant for
        return None
    found = env[nodes[-1]]
    return found if isinstance(found, torch.Tensor) and found.dtype is torch.bool else None


def _value(local: LocalGraph, node: fx.Node, env: Mapping[fx.Node, Any], *, whole: bool) -> Any:
    if node.op == "get_attr":
        found: Any = local.module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return found.detach().cpu()
    args: Any = fx.node.map_arg(node.args, lambda source: env.get(source, source.meta["value"]))
    kwargs: Any = {key: fx.node.map_arg(value, lambda source: env.get(source, source.meta["value"])) for key, value in node.kwargs.items()}
    if "device" in kwargs:
        kwargs["device"] = "cpu"
    if whole and _name(node) == "getitem" and isinstance(args[1], tuple):
        args = (args[0], tuple(slice(None) if isinstance(part, slice) else part for part in args[1]))
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator] # a function, by the kind of the node
