"""Nodes that hang on the arguments alone, written as expressions over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.fx.graph import magic_methods

from normadvisor.optimization.forward.guards import is_plain, reached, written

__all__ = ["computed_in", "places_of_kind", "rendered"]

_METHODS = frozenset({"size", "dim", "numel", "ndimension", "element_size", "is_floating_point", "is_complex", "stride", "is_contiguous"})
_DEPTH = 12


def rendered(node: fx.Node, places: Mapping[fx.Node, str], depth: int = _DEPTH) -> str | None:
    """The expression that computes ``node`` without running an operation on tensors; ``None`` where there is none."""
    if node in places or node.op == "placeholder":
        return places.get(node)
    if node.op == "get_attr":
        return node.meta.get("place") or reached(str(node.target))
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


def computed_in(node: fx.Node) -> list[fx.Node]:
    """The tensors that a value, which is none, is read from, without arguments and parameters."""
    waiting, found, seen = [node], [], {node}
    while waiting:
        inner = waiting.pop()
        if inner is not node and isinstance(inner.meta["value"], torch.Tensor):
            found += [inner] if inner.op not in {"placeholder", "get_attr"} else []
            continue
        fresh = [source for source in inner.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return found


def places_of_kind(node: fx.Node, module: nn.Module, places: Mapping[fx.Node, str]) -> list[str]:
    """Expressions for the floating arguments and parameters that a tensor is computed from, if it has the dtype of them all; else none.

    Args:
        node: of the tensor.
        module: whose forward it is computed in.
        places: of the arguments.

    """
    dtype = node.meta["value"].dtype
    waiting, seen = [node], {node}
    found: dict[str, torch.dtype] = {}
    while waiting:
        inner = waiting.pop()
        if inner.op == "placeholder" and inner in places and isinstance(inner.meta["value"], torch.Tensor):
            found[places[inner]] = inner.meta["value"].dtype
        elif inner.op == "get_attr" and isinstance(inner.meta["value"], torch.Tensor):
            found[inner.meta["place"]] = inner.meta["value"].dtype
        elif inner.op == "call_module":
            held = next(((name, each) for name, each in _floating(module.get_submodule(str(inner.target)))), None)
            if held is not None:
                kind = "_parameters" if isinstance(held[1], nn.Parameter) else "_buffers"
                found[reached(f"{inner.target}.{held[0]}", kind)] = held[1].dtype
        fresh = [source for source in inner.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting += fresh
    kinds = {place: kind for place, kind in found.items() if kind.is_floating_point}
    return list(kinds) if set(kinds.values()) == {dtype} else []


def _floating(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    held = (*module.named_parameters(), *module.named_buffers())
    return ((name, each) for name, each in held if each.is_floating_point())
