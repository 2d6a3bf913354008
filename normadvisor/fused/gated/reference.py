"""The same in torch's own operations: what runs without the kernels, and what is differentiated twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.fused.common.activations import IN_TORCH

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["gated_in_torch", "packed_in_torch"]


def gated_in_torch(gate: Tensor, up: Tensor, act: str) -> Tensor:
    """Compute what :func:`normadvisor.fused.gated.gated` does with torch's own operations."""
    return IN_TORCH[act](gate) * up


def packed_in_torch(x: Tensor, act: str, dim: int = -1, *, gate_last: bool = False) -> Tensor:
    """Compute what :func:`normadvisor.fused.gated_packed` does with torch's own operations."""
    half = x.shape[dim] // 2
    # Faster than `chunk` by half a microsecond.
    first, second = x.split_with_sizes((half, half), dim)
    return IN_TORCH[act](second) * first if gate_last else IN_TORCH[act](first) * second
