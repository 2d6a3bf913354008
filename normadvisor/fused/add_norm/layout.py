"""Strides in which add + norm works: contiguous rows, at an equal distance from one another or one behind the other in any order."""

from __future__ import annotations

from torch import Tensor

from normadvisor.fused.common.rows import memory_order, product, row_distance

__all__ = ["Rows", "readable", "rows_of"]

Rows = tuple[Tensor, Tensor, int, int]
"""Both inputs, and the distance of the rows of each in elements."""


def readable(x: Tensor, residual: Tensor, normalized: int) -> bool:
    """Whether the kernels read both inputs where they are, so that nothing has to be copied first.

    Args:
        x: first input.
        residual: of the same shape.
        normalized: number of trailing dimensions that make a row.

    """
    return _distances(x, residual, normalized) is not None or _same_order(x, residual, normalized)


def rows_of(x: Tensor, residual: Tensor, normalized: int) -> Rows:
    """Give both inputs so that the kernels can read them: as they are if :func:`readable`, else contiguous copies."""
    distances = _distances(x, residual, normalized)
    if distances is not None:
        return x, residual, *distances
    columns = product(x.shape[x.dim() - normalized :])
    if _same_order(x, residual, normalized):
        return x, residual, columns, columns
    return x.contiguous(), residual.contiguous(), columns, columns


def _distances(x: Tensor, residual: Tensor, normalized: int) -> tuple[int, int] | None:
    distance = row_distance(x, normalized)
    other = row_distance(residual, normalized)
    return None if distance is None or other is None else (distance, other)


def _same_order(x: Tensor, residual: Tensor, normalized: int) -> bool:
    """Whether both are the same permutation of rows without gaps: (B, T, C) from a transposed (T, B, C)."""
    return x.stride() == residual.stride() and memory_order(x, x.dim() - normalized) is not None
