"""How the rows of a tensor lie in memory: kernels that work row by row need no copy if rows are equally far apart, or lie in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["block", "memory_order", "packed", "product", "row_distance"]


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


def product(lengths: Sequence[int]) -> int:
    """Multiply; 1 for none."""
    result = 1
    for length in lengths:
        result *= length
    return result


def packed(shape: Sequence[int], strides: Sequence[int], innermost: int) -> bool:
    """Whether dimensions lie within one another without gaps, in order, the last one ``innermost`` elements apart."""
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != innermost:
            return False
        innermost *= length
    return True


def row_distance(tensor: Tensor, trailing: int) -> int | None:
    """Distance in elements of rows that are equally far from one another, in order; ``None`` if they are not.

    Args:
        tensor: contiguous, or a slice of a longer last dimension, for example.
        trailing: number of last dimensions that make a row, which has to be contiguous.

    """
    leading = tensor.dim() - trailing
    columns = product(tensor.shape[leading:])
    if tensor.is_contiguous():
        return columns
    if not packed(tensor.shape[leading:], tensor.stride()[leading:], 1):
        return None
    outer = [(length, stride) for length, stride in zip(tensor.shape[:leading], tensor.stride()[:leading], strict=True) if length != 1]
    if not outer:
        return columns
    distance = outer[-1][1]
    in_order = packed([length for length, _ in outer], [stride for _, stride in outer], distance)
    return distance if distance >= columns and in_order else None


def memory_order(tensor: Tensor, leading: int | None = None) -> list[int] | None:
    """Dimensions from the outermost in memory to the innermost; ``None`` if there are gaps.

    Args:
        tensor: of any strides.
        leading: number of first dimensions that may be in any order; those behind them are as in a contiguous tensor. By default all.

    """
    count = tensor.dim() if leading is None else leading
    if tensor.is_contiguous():
        return list(range(tensor.dim()))
    order: list[int] = []
    for axis in range(count):
        # Insertion, since dynamo cannot sort symbolic sizes.
        place = len(order)
        while place and _inside(tensor, order[place - 1], axis):
            place -= 1
        order.insert(place, axis)
    order += range(count, tensor.dim())
    return order if packed([tensor.shape[axis] for axis in order], [tensor.stride(axis) for axis in order], 1) else None


def _inside(tensor: Tensor, axis: int, other: int) -> bool:
    """Whether ``axis`` is within ``other``; where strides are equal one of them has length 1."""
    stride, length = tensor.stride(axis), tensor.shape[axis]
    return bool(stride < tensor.stride(other) or (stride == tensor.stride(other) and length < tensor.shape[other]))
