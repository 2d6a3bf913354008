"""Which layers normalize rows the way ``F.layer_norm`` and ``F.rms_norm`` do, whoever wrote them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from normadvisor.graph.canonical import base_name, module_op, spelling
from normadvisor.graph.model import NodeInfo
from normadvisor.graph.signatures import bind
from normadvisor.optimization.fusing.forwards import Forwards

__all__ = ["RowNorm", "row_norm"]

_ROWS = 2
"""Size of the first axis of what a hand-written norm is compared with torch's own on; the following are one larger each."""
_CLOSE = 1e-5
"""Difference up to which two norms are the same: above the rounding of those that compute in float32 whatever they get, and far below what
another ``eps`` makes of rows as small as those that are drawn."""


@dataclass(frozen=True, slots=True)
class RowNorm:
    """A norm over the last axes of its input."""

    kind: str
    """``layer_norm`` or ``rms_norm``."""
    shape: tuple[int, ...]
    """Sizes of the axes."""
    weight: str
    """Name of the parameter within the layer; empty for none."""
    bias: str
    eps: float | None
    """``None`` is the smallest step of the dtype, as for ``F.rms_norm``."""

    def plain(self, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
        """With torch's own function."""
        if self.kind == "rms_norm":
            return F.rms_norm(x, list(self.shape), weight, self.eps)
        assert self.eps is not None  # noqa: S101 -- only rms_norm goes without
        return F.layer_norm(x, list(self.shape), weight, bias, self.eps)

    def held(self, layer: nn.Module) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Weight and bias of a layer."""
        weight, bias = (getattr(layer, name) if name else None for name in (self.weight, self.bias))
        return weight, bias


def row_norm(layer: nn.Module, forwards: Forwards, seen: Mapping[int, NodeInfo]) -> RowNorm | None:
    """What a layer normalizes, ``None`` if it does something else as well.

    Args:
        layer: the layer.
        forwards: of the model that holds it.
        seen: what the graph of the model shows for the layer, by its identity: hand-written norms are recognised there.

    """
    known = module_op(type(layer))
    if known is not None and type(layer).forward is known[1].forward and known[0] in {"layer_norm", "rms_norm"}:
        return _of_layer(known[0], layer)
    call = forwards.only_call(layer)
    if call is not None and call.op == "call_function":
        return _of_call(call, layer)
    node = seen.get(id(layer))
    return _handwritten(layer, node) if node is not None else None


def _of_layer(kind: str, layer: Any) -> RowNorm:
    bias = "bias" if kind == "layer_norm" and layer.bias is not None else ""
    return RowNorm(kind, tuple(layer.normalized_shape), "weight" if layer.weight is not None else "", bias, layer.eps)


def _of_call(call: fx.Node, layer: nn.Module) -> RowNorm | None:
    name, written = spelling(call.target)
    kind = base_name(name)[0]
    given = bind(kind, written, call.args, call.kwargs)
    sizes, eps = given.get("normalized_shape"), given.get("eps")
    if kind not in {"layer_norm", "rms_norm"} or not isinstance(sizes, list | tuple) or not all(isinstance(size, int) for size in sizes):
        return None
    if not isinstance(eps, float | int | None):
        return None
    names = []
    for key in ("weight", "bias"):
        held = given.get(key)
        if held is not None and not (isinstance(held, fx.Node) and held.op == "get_attr" and "." not in str(held.target)):
            return None
        names.append(str(held.target) if held is not None else "")
    found = RowNorm(kind, tuple(sizes), names[0], names[1], eps)
    return found if _fits(found, layer) else None


def _handwritten(layer: nn.Module, node: NodeInfo) -> RowNorm | None:
    """A norm that was recognised by what it computes, where torch's own function computes the same with its parameters."""
    eps, axes, rank = node.attrs.get("eps"), node.attrs.get("axes"), len(node.in_shape or ())
    parameters = dict(layer.named_parameters())
    if node.op not in {"layer_norm", "rms_norm"} or not isinstance(eps, float) or axes != [rank - 1] or not node.in_shape:
        return None
    others = any(True for _ in layer.children()) or any(True for _ in layer.buffers())
    if others or len(parameters) > (2 if node.op == "layer_norm" else 1):
        return None
    names = [*parameters, "", ""]
    found = RowNorm(node.op, (node.in_shape[-1],), names[0], names[1], eps)
    return found if _fits(found, layer) and _agrees(found, layer, rank) else None


def _fits(norm: RowNorm, layer: nn.Module) -> bool:
    return all(held is None or tuple(held.shape) == norm.shape for held in norm.held(layer))


def _agrees(norm: RowNorm, layer: nn.Module, rank: int) -> bool:
    """Whether the layer gives what torch's own function gives, with parameters and rows drawn at random, in float64."""
    generator = torch.Generator().manual_seed(0)
    try:
        own = copy.deepcopy(layer).to(device="cpu", dtype=torch.float64).eval()
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
            shape = (*range(_ROWS, _ROWS + rank - 1), *norm.shape)  # Sizes that differ tell axes apart.
            rows = torch.randn(shape, dtype=torch.float64, generator=generator) * 1e-3  # So small that eps shows.
            found, wanted = own(rows), norm.plain(rows, *norm.held(own))
    except Exception:  # noqa: BLE001 -- a layer that cannot be run so is left alone
        return False
    return isinstance(found, torch.Tensor) and found.shape == wanted.shape and float((found - wanted).abs().max()) <= _CLOSE
