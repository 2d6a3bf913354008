"""Kernels of gated activations: ``act(gate) * up`` and its gradients, which compute the activation again instead of storing it.

A program takes a tile of ``BLOCK_ROWS`` x ``BLOCK_COLUMNS`` of a matrix; what lies one behind the other in memory is one row. All lengths
and distances are given in units of ``UNIT`` elements, the largest power of two up to 16 that divides them: so the compiler knows that it
may access 16 bytes at a time, whatever the sizes are at run time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from normadvisor.fused.common.triton_activations import activate, activation_derivative

__all__ = ["gated_backward_kernel", "gated_forward_kernel"]

_SLOPE = tl.constexpr(0.01)  # Of leaky_relu: torch's default.


@triton.jit
def _tile(strips, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr):
    tile = tl.program_id(0)
    row = (tile // strips).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = (tile % strips).to(tl.int64) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    return row[:, None], column[None, :]


@triton.jit(do_not_specialize=["rows", "units", "strips", "gate_distance", "up_distance"])
def gated_forward_kernel(
    gate,
    up,
    out,
    rows,
    units,
    strips,
    gate_distance,
    up_distance,
    ACT: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Write ``act(gate) * up``, whose rows lie one behind the other."""
    row, column = _tile(strips, BLOCK_ROWS, BLOCK_COLUMNS)
    # As 64-bit numbers: a flat tensor is one row.
    columns = units.to(tl.int64) * UNIT
    inside = (row < rows) & (column < columns)
    z = tl.load(gate + row * UNIT * gate_distance + column, mask=inside, other=0.0).to(ACCUMULATOR)
    factor = tl.load(up + row * UNIT * up_distance + column, mask=inside, other=0.0).to(ACCUMULATOR)
    result = activate(z, tl.full((), _SLOPE, ACCUMULATOR), ACT) * factor
    tl.store(out + row * columns + column, result.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "units", "strips", "gate_distance", "up_distance", "d_gate_distance", "d_up_distance"])
def gated_backward_kernel(
    d_out,
    gate,
    up,
    d_gate,
    d_up,
    rows,
    units,
    strips,
    gate_distance,
    up_distance,
    d_gate_distance,
    d_up_distance,
    ACT: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Write the gradients of ``gate`` and ``up``; the rows of ``d_out`` lie one behind the other."""
    row, column = _tile(strips, BLOCK_ROWS, BLOCK_COLUMNS)
    columns = units.to(tl.int64) * UNIT
    inside = (row < rows) & (column < columns)
    gradient = tl.load(d_out + row * columns + column, mask=inside, other=0.0).to(ACCUMULATOR)
    z = tl.load(gate + row * UNIT * gate_distance + column, mask=inside, other=0.0).to(ACCUMULATOR)
    factor = tl.load(up + row * UNIT * up_distance + column, mask=inside, other=0.0).to(ACCUMULATOR)
    result = gradient * factor * activation_derivative(z, tl.full((), _SLOPE, ACCUMULATOR), ACT)
    tl.store(d_gate + row * UNIT * d_gate_distance + column, result.to(d_gate.dtype.element_ty), mask=inside)
    result = gradient * activate(z, tl.full((), _SLOPE, ACCUMULATOR), ACT)
    tl.store(d_up + row * UNIT * d_up_distance + column, result.to(d_up.dtype.element_ty), mask=inside)
