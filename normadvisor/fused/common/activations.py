"""Activations that can be fused, by name, in torch's own operations; the same for kernels stand in ``triton_activations``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "DEFAULT_SLOPE", "activation", "activation_of", "check_activation"]

DEFAULT_SLOPE = 0.01
"""Negative slope of LeakyReLU, as in :class:`torch.nn.LeakyReLU`."""

_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "mish": F.mish,
}
ACTIVATIONS = ("none", "relu", "relu6", "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish", "mish")
"""Names of all activations that the kernels know."""


def check_activation(name: str) -> str:
    """Return ``name``.

    Raises:
        ValueError: no activation has that name.

    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return name


def activation(name: str, x: Tensor, slope: float = DEFAULT_SLOPE, *, inplace: bool = False) -> Tensor:
    """Apply the activation ``name`` of :data:`ACTIVATIONS` with torch's own operation.

    Args:
        name: one of :data:`ACTIVATIONS`.
        x: of any shape.
        slope: negative slope, for ``leaky_relu``.
        inplace: whether ``x`` may be overwritten, where torch has an operation that does.

    """
    if name == "none":
        return x
    if name == "leaky_relu":
        return F.leaky_relu(x, slope, inplace=inplace)
    if name in {"gelu", "gelu_tanh"}:
        return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")
    return _FUNCTIONS[name](x, inplace=inplace)


def activation_of(module: nn.Module) -> tuple[str, float] | None:
    """Name and negative slope of what a torch activation layer computes; ``None`` if the kernels do not know it.

    Subclasses are not taken: they may compute something else.
    """
    kind = type(module)
    if kind is nn.LeakyReLU and isinstance(module, nn.LeakyReLU):
        return "leaky_relu", float(module.negative_slope)
    if kind is nn.GELU and isinstance(module, nn.GELU):
        return ("gelu_tanh" if module.approximate == "tanh" else "gelu"), DEFAULT_SLOPE
    name = _MODULES.get(kind)
    return (name, DEFAULT_SLOPE) if name else None


_MODULES: Mapping[type[nn.Module], str] = {
    nn.Identity: "none",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
    nn.Hardswish: "hardswish",
    nn.Mish: "mish",
}


def promoted(*tensors: Tensor | None) -> torch.dtype:
    """Give the dtype in which kernels compute: float64 when any tensor is, else float32."""
    return torch.float64 if any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
