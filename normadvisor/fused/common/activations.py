"""Activations that can be fused, by name, in torch's own operations; the same for kernels stand in ``triton_activations``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "DEFAULT_SLOPE", "IN_TORCH", "activation", "activation_of", "check_activation"]

DEFAULT_SLOPE = 0.01
"""Negative slope of LeakyReLU, as in :class:`torch.nn.LeakyReLU`."""

_IN_PLACE: Mapping[str, Callable[[Tensor, bool], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "mish": F.mish,
}
"""Those that can overwrite their input, without further arguments."""
IN_TORCH: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    **_IN_PLACE,  # type: ignore[dict-item]  # what it takes beside has a default
}
"""Torch's own operation by name; ``leaky_relu`` with the default slope."""
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


def activation(name: str, x: Tensor, slope: float = DEFAULT_SLOPE, inplace: bool = False) -> Tensor:  # noqa: FBT001, FBT002 (as torch)
    """Apply the activation ``name`` of :data:`ACTIVATIONS` with torch's own operation.

    Args:
        name: one of :data:`ACTIVATIONS`.
        x: of any shape.
        slope: negative slope, for ``leaky_relu``.
        inplace: whether ``x`` may be overwritten, where torch has an operation that does.

    """
    function = _IN_PLACE.get(name)
    if function is not None:
        return function(x, inplace)
    return F.leaky_relu(x, slope, inplace) if name == "leaky_relu" else IN_TORCH[name](x)


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
