"""Nodes that hang on the arguments alone, written as expressions over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.fx.graph import magic_methods

from normadvisor.optimization.forward.guards import is_plain, reached, written

__all__ = ["rendered"]

_METHODS = frozenset({"size", "dim", "numel", "ndimension", "element_size", "is_floating_point", "is_complex", "stride", "is_contiguous"})
_DEPTH = 12


def rendered(node: fx.Node, places: Mapping[fx.Node, str], depth: int = _DEPTH) -> str | None:
    """The expression that computes ``node`` without running an operation on tensors; ``None`` where there is none."""
    if node.op == "placeholder":
        return places.get(node)
    if node.op == "get_attr":
        return reached(str(node.target))
    if depth == 0 or node.kwargs:
        return None
    if isinstance(node.meta["value"], torch.Tensor) and node.target is not getattr:
        return None
    written_args = [_argument(argument, places, depth - 1) for argument in node.args]
    if any(argument is None for argument in written_args):
        return None
    args = [str(argument) for argument in written_args]
    if node.target is getattr:
        return f"{args[0]}.{node.args[1]}"
    if node.op == "call_method" and node.target in _METHODS:
        return f"{args[0]}.{node.target}({', '.join(args[1:])})"
    if node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator":
        name = getattr(node.target, "__name__", "")
        if name == "getitem":
            return f"{args[0]}[{args[1]}]"
        form = magic_methods.get(name)
        return f"({form.format(*args)})" if form is not None else None
    return None


def _argument(value: Any, places: Mapping[fx.Node, str], depth: int) -> str | None:
    if isinstance(value, fx.Node):
        return rendered(value, places, depth)
    if type(value) in {tuple, list}:
        items = [_argument(item, places, depth) for item in value]
        return None if None in items else "(" + "".join(f"{item}, " for item in items) + ")"
    if isinstance(value, slice):
        parts = [_argument(part, places, depth) for part in (value.start, value.stop, value.step)]
        return None if None in parts else f"slice({', '.join(str(part) for part in parts)})"
    return written(value) if is_plain(value) else None
