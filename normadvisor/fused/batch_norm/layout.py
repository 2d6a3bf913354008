"""How a tensor lies in memory, as the kernels see it: a matrix whose rows are read one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

import torch

__all__ = ["Layout", "block", "dense", "is_channels_last", "layout_of", "like"]

_LARGEST_ALIGNMENT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Sizes of a tensor of shape (N, C, *spatial) that is dense in one of two orders."""

    batch: int
    channels: int
    spatial: int
    """Entries of one channel of one sample; 1 for (N, C)."""
    channels_last: bool
    """Whether the channels of one place lie side by side, else the places of one channel do."""

    @property
    def count(self) -> int:
        """Entries of one channel in the whole batch: what a statistic is taken over."""
        return self.batch * self.spatial

    @property
    def rows(self) -> int:
        """Rows of the whole tensor: one per place (channels last), or one per sample and channel."""
        return self.count if self.channels_last else self.batch * self.channels

    @property
    def columns(self) -> int:
        """Entries of a row, which lie side by side."""
        return self.channels if self.channels_last else self.spatial

    @property
    def alignment(self) -> int:
        """The largest power of two, at most 16, that divides the start of every row: what decides how wide the loads can be."""
        return gcd(self.columns, _LARGEST_ALIGNMENT)


def is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether the channels (dimension 1) of a tensor of two or more dimensions lie side by side and nothing lies between the rows.

    True for (N, C) and (N, C, 1, 1), where both orders are the same one and a row of channels is the longer one; never for one channel.
    """
    if tensor.shape[1] == 1:
        return False
    if tensor.dim() == 4:
        return tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.movedim(1, -1).is_contiguous()


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of shape (N, C, *spatial) in one of the two dense orders, the one it is nearer to; itself where it is in one of them."""
    if tensor.is_contiguous() or is_channels_last(tensor):
        return tensor
    if tensor.dim() > 2 and tensor.shape[1] != 1 and tensor.stride(1) == 1:
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
    return tensor.contiguous()


def like(tensor: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """The tensor in the order of ``model``, which is dense and of the same shape; a copy only where its order is another one."""
    if tensor.stride() == model.stride():
        return tensor
    if is_channels_last(model) == is_channels_last(tensor) and (is_channels_last(tensor) or tensor.is_contiguous()):
        return tensor
    return torch.empty_like(model, dtype=tensor.dtype).copy_(tensor)


def layout_of(tensor: torch.Tensor) -> Layout:
    """The layout of a tensor that is dense, as :func:`dense` returns it."""
    batch, channels, *spatial = tensor.shape
    if channels == 1:  # one channel is one row, however many samples it is from
        return Layout(batch=1, channels=1, spatial=batch * prod(spatial), channels_last=False)
    return Layout(batch=batch, channels=channels, spatial=prod(spatial), channels_last=is_channels_last(tensor))


def block(extent: int, *, largest: int, smallest: int) -> int:
    """The width of a tile over ``extent`` entries: a power of two.

    The largest one, of those between the bounds, that leaves at most an eighth of the lanes without work over a whole row; where none does,
    the one that covers the row, at most ``largest``.
    """
    whole = 1 << max(extent - 1, 0).bit_length()
    width = min(largest, whole)
    while width >= smallest:
        covered = -(-extent // width) * width
        if (covered - extent) * 8 <= covered:
            return width
        width //= 2
    return min(largest, whole)
