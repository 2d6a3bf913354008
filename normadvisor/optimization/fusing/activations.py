"""Which activations fused kernels know, whichever way they are spelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normadvisor.graph.attributes import module_attrs
from normadvisor.graph.canonical import base_name, function_op, module_op, spelling
from normadvisor.graph.signatures import bind

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["NO_ACTIVATION", "Activation", "activation", "of_call", "of_layer"]

_SLOPE = 0.01
"""Of ``leaky_relu`` where nothing is said, as in torch."""
_NAMES = ("relu", "relu6", "silu", "gelu", "leaky_relu", "hardswish", "mish")


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by the name that fused operations give it."""

    name: str
    """``none``, ``relu``, ``relu6``, ``leaky_relu``, ``silu``, ``gelu``, ``gelu_tanh``, ``hardswish`` or ``mish``."""
    slope: float = _SLOPE
    """Of ``leaky_relu`` left of zero."""

    @property
    def key(self) -> str:
        """As text, with the slope where there is one."""
        return f"{self.name} {self.slope:g}" if self.name == "leaky_relu" else self.name


NO_ACTIVATION = Activation("none")


def activation(op: str, attrs: Mapping[str, Any]) -> Activation | None:
    """The activation that a canonical operation with its attributes is, ``None`` if kernels do not know it."""
    if op not in _NAMES:
        return None
    if op == "gelu":
        return Activation("gelu_tanh") if attrs.get("approximate") == "tanh" else Activation("gelu")
    if op == "leaky_relu":
        slope = attrs.get("negative_slope", _SLOPE)
        return Activation(op, float(slope)) if isinstance(slope, int | float) else None
    return Activation(op)


def of_layer(layer: nn.Module) -> Activation | None:
    """The activation that a layer of ``torch.nn``, or one derived from it without a ``forward`` of its own, is."""
    known = module_op(type(layer))
    if known is None or type(layer).forward is not known[1].forward or "forward" in vars(layer):
        return None
    return activation(known[0], module_attrs(known[0], layer))


def of_call(node: fx.Node) -> Activation | None:
    """The activation that a call of a function or of a method of a tensor is."""
    if node.op not in {"call_function", "call_method"}:
        return None
    op, _ = function_op(node.target)
    name, written = spelling(node.target)
    return activation(op, bind(base_name(name)[0], written, node.args, node.kwargs))
