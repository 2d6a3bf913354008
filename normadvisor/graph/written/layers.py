"""Layers whose own ``forward`` is written out by hand: the class ``Swish`` of one model, the ``RMSNorm`` of the next."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.frames import Frames
from normadvisor.graph.record import KEY, Note, note_of
from normadvisor.graph.values import to_meta
from normadvisor.graph.written.exact import is_cast
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.search import search

__all__ = ["written_by"]


class _Tracer(fx.Tracer):
    """fx's tracer with the place of every call."""

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        self._frames = Frames()
        self._until = sys._getframe(1)  # noqa: SLF001 -- what calls the tracer is none of the user's frames

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        site = None if kind in {"placeholder", "output", "get_attr"} else self._frames.site(2, self._until)
        node.meta[KEY] = Note("", site=site)
        return node


def written_by(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Written | None:
    """What a layer computes by hand, where that is all it does: from its one input to its output.

    Args:
        module: a layer that takes one tensor; it is left as it is.
        shape: of its input.
        dtype: of its input.

    Returns:
        What it is, in the graph of its ``forward``, with nothing but changes of the dtype ahead of it and behind; ``None`` where it calls
        torch's function itself, does more, or cannot be followed.

    """
    try:
        graph = _Tracer().trace(module)
        _measured(graph, module, torch.empty(shape, dtype=dtype, device="meta"))
    except Exception:  # noqa: BLE001 -- the user's code, followed with values that it may not be meant for
        return None
    around = Surroundings(graph, module)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    for found in search(around):
        ends = isinstance(result, fx.Node) and _before_casts(result, found.root) is found.root
        if ends and inputs and "input" in found.inputs and _before_casts(found.inputs["input"], inputs[0]) is inputs[0]:
            return found
    return None


def _before_casts(node: fx.Node, until: fx.Node) -> fx.Node:
    """What a value was before its dtype was changed; a layer may compute in single precision between two such changes."""
    while node is not until and is_cast(node) and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def _measured(graph: fx.Graph, module: nn.Module, x: torch.Tensor) -> None:
    """Run a graph on tensors without data and write down the shapes."""
    held = copy.copy(module)
    values: dict[fx.Node, Any] = {}
    given = [x]
    with torch.no_grad(), torch.device("meta"):
        for node in graph.nodes:
            values[node] = value = _value(node, held, values, given)
            note_of(node).fill(value)


def _value(node: fx.Node, module: nn.Module, values: dict[fx.Node, Any], given: list[torch.Tensor]) -> Any:
    if node.op == "placeholder":
        return given.pop() if given else node.args[0]
    if node.op == "get_attr":
        found: Any = module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return to_meta(found) if isinstance(found, torch.Tensor) else found
    args: Any = fx.node.map_arg(node.args, lambda source: values[source])
    kwargs: Any = fx.node.map_arg(node.kwargs, lambda source: values[source])
    if node.op == "output":
        return args[0]
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*args, **kwargs)
    target: Any = node.target
    return target(*args, **kwargs)
