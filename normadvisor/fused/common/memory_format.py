"""Memory formats of images (N, C, *spatial): kernels take channels first or channels last, without gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from normadvisor.fused.common import buffers

__all__ = ["dense", "is_channels_last", "like", "spatial_size"]


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels (dimension 1) lie side by side and nothing lies between the rows.

    True for (N, C) and (N, C, 1, 1), where both orders are the same one and a row of channels is the longer one; never for one channel.
    """
    if x.dim() < 2 or x.shape[1] == 1:
        return False
    if x.dim() == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    return x.movedim(1, -1).is_contiguous()


def dense(x: Tensor) -> Tensor:
    """Give (N, C, *spatial) without gaps: itself if it has none, else a copy in that of the two orders that it is nearer to."""
    if x.is_contiguous() or is_channels_last(x):
        return x
    if x.dim() > 2 and x.shape[1] != 1 and x.stride(1) == 1:
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    return x.contiguous()


def like(x: Tensor, pattern: Tensor) -> Tensor:
    """Give ``x`` in the order of ``pattern``; a copy only where its order is another one.

    Args:
        x: of any strides.
        pattern: of the same shape, without gaps, its dimensions in any order.

    """
    if x.stride() == pattern.stride():
        return x
    # Strides of dimensions of length 1 may differ.
    if (x.is_contiguous() and pattern.is_contiguous()) or (is_channels_last(x) and is_channels_last(pattern)):
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
