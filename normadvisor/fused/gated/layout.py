"""Gated activations as operations on matrices: which elements lie one behind the other, and how far apart the rows of each tensor are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normadvisor.fused.common import buffers, memory_format
from normadvisor.fused.common.rows import memory_order, product, row_distance

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Matrix", "Split", "matrix_of", "split_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``gate`` and ``up`` as matrices."""

    rows: int
    columns: int
    gate_distance: int
    """Of rows, in elements."""
    up_distance: int

    def empty(self, gate: Tensor, dtype: torch.dtype) -> Tensor:
        """Give memory for a result of the shape of ``gate``: in its order, without gaps."""
        return buffers.empty_like(gate, dtype)

    def like_result(self, d_out: Tensor, gate: Tensor) -> Tensor:
        """Give the gradient of the result in the strides of :meth:`empty`."""
        flat = self.rows == 1
        return memory_format.like(d_out, gate) if flat and not gate.is_contiguous() else d_out.contiguous()


def matrix_of(gate: Tensor, up: Tensor) -> Matrix | None:
    """Say how to read two tensors of one shape; ``None`` if the kernels cannot without copying them first.

    One long row if both have the same strides without gaps, else rows along the last dimension: slices of a packed tensor, for example.
    """
    if gate.is_contiguous() and up.is_contiguous():
        return _flat(gate)
    distances = (row_distance(gate, 1), row_distance(up, 1)) if gate.dim() else (None, None)
    if distances[0] is not None and distances[1] is not None:
        columns = gate.shape[-1]
        return Matrix(rows=gate.numel() // max(columns, 1), columns=columns, gate_distance=distances[0], up_distance=distances[1])
    if gate.stride() == up.stride() and memory_order(gate) is not None:
        return _flat(gate)
    return None


def _flat(gate: Tensor) -> Matrix:
    count = gate.numel()
    return Matrix(rows=1, columns=count, gate_distance=count, up_distance=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A tensor that holds both halves, as a matrix in which every row is one half and then the other."""

    rows: int
    columns: int
    """Of a half."""
    order: tuple[int, ...]
    """Dimensions from the outermost in memory to the innermost."""

    @property
    def matrix(self) -> Matrix:
        """Both halves as matrices."""
        return Matrix(rows=self.rows, columns=self.columns, gate_distance=2 * self.columns, up_distance=2 * self.columns)

    def halves(self, x: Tensor, dim: int, *, gate_last: bool) -> tuple[Tensor, Tensor]:
        """Give gate and up as views."""
        half = x.shape[dim] // 2
        first, second = x.narrow(dim, 0, half), x.narrow(dim, half, half)
        return (second, first) if gate_last else (first, second)

    def empty(self, x: Tensor, dim: int) -> Tensor:
        """Give memory for a result: ``x`` with half the length of ``dim``, in its order, without gaps."""
        shape = [x.shape[axis] // 2 if axis == dim else x.shape[axis] for axis in self.order]
        return buffers.empty(shape, x.dtype, x.device).permute([self.order.index(axis) for axis in range(x.dim())])

    def like_result(self, d_out: Tensor, x: Tensor, dim: int) -> Tensor:
        """Give the gradient of the result in the strides of :meth:`empty`."""
        return d_out if d_out.permute(self.order).is_contiguous() else self.empty(x, dim).copy_(d_out)


def split_of(x: Tensor, dim: int) -> Split | None:
    """Say how to read a packed tensor; ``None`` if the kernels cannot without copying it first.

    Args:
        x: of any strides without gaps: channels last, too.
        dim: not negative; its length is even.

    """
    order = memory_order(x)
    if order is None:
        return None
    place = order.index(dim)
    columns = product([x.shape[axis] for axis in order[place:]]) // 2
    return Split(rows=product([x.shape[axis] for axis in order[:place]]), columns=columns, order=tuple(order))
