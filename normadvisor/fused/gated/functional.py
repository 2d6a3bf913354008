"""Gated activations: the fused kernels where they can run, torch's own operations elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from normadvisor.fused.common.activations import ACTIVATIONS, check_activation
from normadvisor.fused.common.triton_support import INTERPRETED, why_not_triton
from normadvisor.fused.gated import ops
from normadvisor.fused.gated.layout import matrix_of, split_of
from normadvisor.fused.gated.reference import gated_in_torch, packed_in_torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "gated",
    "gated_in_torch",
    "gated_packed",
    "geglu",
    "geglu_packed",
    "gelu_name",
    "packed_in_torch",
    "supported",
    "supported_packed",
    "swiglu",
    "swiglu_packed",
]


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Compute ``silu(gate) * up`` in one pass; backward computes the activation again (Shazeer 2020).

    Args:
        gate: of any shape; float32, float16, bfloat16 or float64.
        up: of the same shape.

    """
    return gated(gate, up, "silu") if gate.is_cuda or INTERPRETED else F.silu(gate) * up


def geglu(gate: Tensor, up: Tensor, approximate: str = "none") -> Tensor:
    """Compute ``gelu(gate) * up`` in one pass; backward computes the activation again (Shazeer 2020).

    Args:
        gate: of any shape; float32, float16, bfloat16 or float64.
        up: of the same shape.
        approximate: ``none`` or ``tanh``, as for :func:`torch.nn.functional.gelu`.

    """
    return gated(gate, up, gelu_name(approximate))


def swiglu_packed(x: Tensor, dim: int = -1, *, gate_last: bool = False) -> Tensor:
    """Compute :func:`swiglu` of the halves of ``x``; its gradient is written as one tensor, without ``cat``.

    Args:
        x: an even number of elements along ``dim``.
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate, as in :func:`torch.nn.functional.glu`.

    """
    return gated_packed(x, "silu", dim, gate_last=gate_last)


def geglu_packed(x: Tensor, dim: int = -1, *, gate_last: bool = False, approximate: str = "none") -> Tensor:
    """Compute :func:`geglu` of the halves of ``x``; its gradient is written as one tensor, without ``cat``.

    Args:
        x: an even number of elements along ``dim``.
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate, as in diffusers.
        approximate: ``none`` or ``tanh``, as for :func:`torch.nn.functional.gelu`.

    """
    return gated_packed(x, gelu_name(approximate), dim, gate_last=gate_last)


def gelu_name(approximate: str) -> str:
    """Name of the activation that :class:`torch.nn.GELU` computes.

    Raises:
        ValueError: ``approximate`` is neither ``none`` nor ``tanh``.

    """
    if approximate not in {"none", "tanh"}:
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    return "gelu_tanh" if approximate == "tanh" else "gelu"


def gated(gate: Tensor, up: Tensor, act: str) -> Tensor:
    """Compute ``act(gate) * up``.

    Args:
        gate: of any shape.
        up: of the same shape; another one is broadcast, by torch's own operations.
        act: one of :data:`~normadvisor.fused.common.activations.ACTIVATIONS`.

    Raises:
        ValueError: no activation has that name.

    """
    if act not in ACTIVATIONS:
        check_activation(act)
    if not (gate.is_cuda or INTERPRETED) or supported(gate, up, act):
        return gated_in_torch(gate, up, act)
    return ops.run(gate, up, act)


def gated_packed(x: Tensor, act: str, dim: int = -1, *, gate_last: bool = False) -> Tensor:
    """Compute ``act(gate) * up`` of the halves of ``x``.

    Args:
        x: an even number of elements along ``dim``.
        act: one of :data:`~normadvisor.fused.common.activations.ACTIVATIONS`.
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate.

    Raises:
        ValueError: no activation has that name, or ``x`` cannot be halved.

    """
    if act not in ACTIVATIONS:
        check_activation(act)
    try:
        odd = x.shape[dim] % 2
    except IndexError:
        odd = 1
    if odd:
        raise ValueError(f"dimension {dim} of a tensor of shape {tuple(x.shape)} cannot be halved")
    if not (x.is_cuda or INTERPRETED) or supported_packed(x, act, dim, gate_last=gate_last):
        return packed_in_torch(x, act, dim, gate_last=gate_last)
    return ops.run_packed(x, act, dim % x.dim(), gate_last=gate_last)


def supported(gate: Tensor, up: Tensor, act: str) -> str:  # noqa: ARG001 (all activations are)
    """Why torch's own operations compute this, in words; empty if the fused kernels do."""
    reason = why_not_triton(gate, up)
    if reason:
        return reason
    if gate.shape != up.shape:
        return "gate and up have different shapes"
    return "" if matrix_of(gate, up) is not None else "the inputs would have to be copied first"


def supported_packed(x: Tensor, act: str, dim: int = -1, *, gate_last: bool = False) -> str:  # noqa: ARG001 (all of them are)
    """Why torch's own operations compute this, in words; empty if the fused kernels do."""
    reason = why_not_triton(x)
    if reason:
        return reason
    return "" if split_of(x, dim % x.dim()) is not None else "the input would have to be copied first"
