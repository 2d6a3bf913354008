"""Memory formats of images (N, C, *spatial): kernels take channels first or channels last, without gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.fused.common import buffers

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["dense", "like", "spatial_size"]


def dense(x: Tensor) -> tuple[Tensor, bool]:
    """Give ``x`` without gaps, and whether its channels are last.

    Args:
        x: (N, C, *spatial). Channels-last ones of any rank stay as they are, (N, C, L) from a transposed (N, L, C) too; any other strides
            are copied to channels first.

    """
    if x.is_contiguous():
        return x, False
    if x.dim() > 2 and x.movedim(1, -1).is_contiguous():
        return x, True
    return x.contiguous(), False


def like(x: Tensor, pattern: Tensor) -> Tensor:
    """Give ``x`` in the strides of ``pattern``, a tensor of the same shape without gaps; copied only where they differ."""
    if x.stride() == pattern.stride():
        return x
    copy = buffers.empty_like(pattern, x.dtype)
    copy.copy_(x)
    return copy


def spatial_size(x: Tensor) -> int:
    """Give the number of positions of (N, C, *spatial): 1 for (N, C)."""
    size = 1
    for length in x.shape[2:]:
        size *= length
    return size
