"""How a tensor lies in memory, as the kernels see it: a matrix whose rows are read one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from torch import Tensor  # noqa: TC002 (read at run time)

from normadvisor.fused.common.memory_format import is_channels_last

__all__ = ["LONGEST_ROW", "Layout", "layout_of"]

LONGEST_ROW = 2**31 - 2**16
"""Entries of a row have to be fewer: kernels count them in 32 bits, up to the end of the last tile."""
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


def layout_of(tensor: Tensor) -> Layout:
    """The layout of a tensor that is dense, as :func:`~normadvisor.fused.common.memory_format.dense` returns it."""
    batch, channels, *spatial = tensor.shape
    if channels == 1 and batch * prod(spatial) < LONGEST_ROW:  # one channel is one row, however many samples it is from
        return Layout(batch=1, channels=1, spatial=batch * prod(spatial), channels_last=False)
    return Layout(batch=batch, channels=channels, spatial=prod(spatial), channels_last=is_channels_last(tensor))
