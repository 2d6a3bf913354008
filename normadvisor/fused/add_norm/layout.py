"""Strides in which add + norm works: contiguous rows, at an equal distance from one another or one behind the other in any order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from normadvisor.fused.common import memory_format

__all__ = ["Rows", "like", "readable", "rows_of"]

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
    columns = _product(x.shape[x.dim() - normalized :])
    if _same_order(x, residual, normalized):
        return x, residual, columns, columns
    return x.contiguous(), residual.contiguous(), columns, columns


def _distances(x: Tensor, residual: Tensor, normalized: int) -> tuple[int, int] | None:
    distance = _distance(x, normalized)
    other = _distance(residual, normalized)
    return None if distance is None or other is None else (distance, other)


def _distance(tensor: Tensor, normalized: int) -> int | None:
    """Distance of rows that are equally far from one another, in order: slices of a longer last dimension, for example."""
    leading = tensor.dim() - normalized
    columns = _product(tensor.shape[leading:])
    if tensor.is_contiguous():
        return columns
    if not _packed(tensor.shape[leading:], tensor.stride()[leading:], 1):
        return None
    lengths = [(length, stride) for length, stride in zip(tensor.shape[:leading], tensor.stride()[:leading], strict=True) if length != 1]
    if not lengths:
        return columns
    distance = lengths[-1][1]
    shape, strides = [length for length, _ in lengths], [stride for _, stride in lengths]
    return distance if distance >= columns and _packed(shape, strides, distance) else None


def _same_order(x: Tensor, residual: Tensor, normalized: int) -> bool:
    """Whether both are the same permutation of contiguous rows without gaps: (B, T, C) from a transposed (T, B, C)."""
    leading = x.dim() - normalized
    if x.stride() != residual.stride() or not _packed(x.shape[leading:], x.stride()[leading:], 1):
        return False
    order = sorted(range(leading), key=lambda axis: (x.stride(axis), x.shape[axis]), reverse=True)
    return _packed([x.shape[axis] for axis in order], [x.stride(axis) for axis in order], _product(x.shape[leading:]))


def _packed(shape: Sequence[int], strides: Sequence[int], expected: int) -> bool:
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


def _product(shape: Sequence[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Give ``tensor`` in the strides of ``pattern``, a tensor of the same shape without gaps; copied only where they differ."""
    if tensor.is_contiguous() and pattern.is_contiguous():
        return tensor
    return memory_format.like(tensor, pattern)
