"""Kernels of the gradients of add + norm.

With ``n = (total - mean) * rstd`` and ``g = d_out * weight`` the gradient of both inputs is

``d_total + rstd * (g - mean(g) - n * mean(g * n))``

(Ba, Kiros and Hinton 2016), without ``mean(g)`` where the mean is not subtracted (Zhang and Sennrich 2019: ``mean`` is ``None``). The
gradient of the weight is the sum of ``d_out * n`` over rows, that of the bias the sum of ``d_out``. These sums are taken in a fixed order:
each program sums its own rows, a second kernel sums over programs. An argument that is ``None`` is not there or not wanted.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["add_norm_long_rows_backward", "add_norm_rows_backward", "parameter_sums", "sum_partials"]


@triton.jit
def _tile(tile, rows, column, COLUMNS: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """Rows of a tile, which elements of it exist, and where they are."""
    row = tl.arange(0, BLOCK_ROWS).to(tl.int64) + tile * BLOCK_ROWS
    return row, (row < rows)[:, None] & (column < COLUMNS)[None, :], row[:, None] * COLUMNS + column[None, :]


@triton.jit
def _centered(total, mean, place, inside, row, rows, ACCUMULATOR: tl.constexpr):
    """The sums of a tile, minus the means of their rows where there are any."""
    value = tl.load(total + place, mask=inside, other=0.0).to(ACCUMULATOR)
    if mean is not None:
        value -= tl.load(mean + row, mask=row < rows, other=0.0)[:, None]
    return value


@triton.jit
def _store_partials(partial_weight, partial_bias, weight_sum, bias_sum, program, column, COLUMNS: tl.constexpr):
    """Store what a program summed for the parameters."""
    partial = program.to(tl.int64) * COLUMNS + column
    if partial_weight is not None:
        tl.store(partial_weight + partial, tl.sum(weight_sum, axis=0), mask=column < COLUMNS)
    if partial_bias is not None:
        tl.store(partial_bias + partial, tl.sum(bias_sum, axis=0), mask=column < COLUMNS)


@triton.jit(do_not_specialize=["rows"])
def add_norm_rows_backward(
    d_out,
    d_total,
    total,
    weight,
    mean,
    rstd,
    d_input,
    partial_weight,
    partial_bias,
    rows,
    COLUMNS: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A program takes every ``num_programs``-th tile of ``BLOCK_ROWS`` rows, reads it once, and keeps sums for the parameters in registers.

    With two stages the next tile is on its way to shared memory while this one is computed.
    """
    program = tl.program_id(0)
    column = tl.arange(0, BLOCK_COLUMNS)
    if weight is not None:
        scale = tl.load(weight + column, mask=column < COLUMNS, other=0.0).to(ACCUMULATOR)[None, :]
    weight_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=ACCUMULATOR)
    bias_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=ACCUMULATOR)
    for tile in tl.range(program, tl.cdiv(rows, BLOCK_ROWS), tl.num_programs(0), num_stages=STAGES):
        row, inside, place = _tile(tile, rows, column, COLUMNS, BLOCK_ROWS)
        gradient = tl.load(d_out + place, mask=inside, other=0.0).to(ACCUMULATOR)
        normed = _centered(total, mean, place, inside, row, rows, ACCUMULATOR)
        row_rstd = tl.load(rstd + row, mask=row < rows, other=0.0)[:, None]
        normed *= row_rstd
        if partial_weight is not None:
            weight_sum += gradient * normed
        if partial_bias is not None:
            bias_sum += gradient
        if weight is not None:
            gradient *= scale
        # Beyond the end of a row `gradient` is zero, so `normed` may be anything there.
        result = gradient - normed * (tl.sum(gradient * normed, axis=1) / COLUMNS)[:, None]
        if mean is not None:
            result -= (tl.sum(gradient, axis=1) / COLUMNS)[:, None]
        result *= row_rstd
        if d_total is not None:
            result += tl.load(d_total + place, mask=inside, other=0.0).to(ACCUMULATOR)
        tl.store(d_input + place, result.to(d_input.dtype.element_ty), mask=inside)
    _store_partials(partial_weight, partial_bias, weight_sum, bias_sum, program, column, COLUMNS)


@triton.jit
def add_norm_long_rows_backward(
    d_out,
    d_total,
    total,
    weight,
    mean,
    rstd,
    d_input,
    COLUMNS: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """One row to a program, in blocks: the two means first, then the gradient of the inputs, for which the row is still in the L2 cache."""
    start_of_row = tl.program_id(0).to(tl.int64) * COLUMNS
    lane = tl.arange(0, BLOCK_COLUMNS)
    row_rstd = tl.load(rstd + tl.program_id(0))
    row_mean = row_rstd * 0.0
    if mean is not None:
        row_mean = tl.load(mean + tl.program_id(0))
    products = tl.zeros([BLOCK_COLUMNS], dtype=ACCUMULATOR)
    gradients = tl.zeros([BLOCK_COLUMNS], dtype=ACCUMULATOR)
    for start in range(0, COLUMNS, BLOCK_COLUMNS):
        inside = start + lane < COLUMNS
        place = start_of_row + start + lane
        gradient = tl.load(d_out + place, mask=inside, other=0.0, eviction_policy="evict_last").to(ACCUMULATOR)
        value = tl.load(total + place, mask=inside, other=0.0, eviction_policy="evict_last").to(ACCUMULATOR)
        if weight is not None:
            gradient *= tl.load(weight + start + lane, mask=inside, other=0.0).to(ACCUMULATOR)
        products += gradient * ((value - row_mean) * row_rstd)
        if mean is not None:
            gradients += gradient
    product = tl.sum(products, axis=0) / COLUMNS
    offset = tl.sum(gradients, axis=0) / COLUMNS
    for start in range(0, COLUMNS, BLOCK_COLUMNS):
        inside = start + lane < COLUMNS
        place = start_of_row + start + lane
        gradient = tl.load(d_out + place, mask=inside, other=0.0, eviction_policy="evict_first").to(ACCUMULATOR)
        value = tl.load(total + place, mask=inside, other=0.0, eviction_policy="evict_first").to(ACCUMULATOR)
        if weight is not None:
            gradient *= tl.load(weight + start + lane, mask=inside, other=0.0).to(ACCUMULATOR)
        result = (gradient - (value - row_mean) * row_rstd * product - offset) * row_rstd
        if d_total is not None:
            result += tl.load(d_total + place, mask=inside, other=0.0).to(ACCUMULATOR)
        tl.store(d_input + place, result.to(d_input.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def parameter_sums(
    d_out,
    total,
    mean,
    rstd,
    partial_weight,
    partial_bias,
    rows,
    COLUMNS: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Sums for the parameters where rows are too long to keep them in registers.

    A program takes a strip of ``BLOCK_COLUMNS`` columns, and of its rows every ``num_programs(1)``-th tile.
    """
    column = tl.program_id(0) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    share = tl.program_id(1)
    weight_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=ACCUMULATOR)
    bias_sum = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=ACCUMULATOR)
    for tile in tl.range(share, tl.cdiv(rows, BLOCK_ROWS), tl.num_programs(1), num_stages=STAGES):
        row, inside, place = _tile(tile, rows, column, COLUMNS, BLOCK_ROWS)
        gradient = tl.load(d_out + place, mask=inside, other=0.0).to(ACCUMULATOR)
        if partial_weight is not None:
            value = _centered(total, mean, place, inside, row, rows, ACCUMULATOR)
            weight_sum += gradient * (value * tl.load(rstd + row, mask=row < rows, other=0.0)[:, None])
        if partial_bias is not None:
            bias_sum += gradient
    _store_partials(partial_weight, partial_bias, weight_sum, bias_sum, share, column, COLUMNS)


@triton.jit(do_not_specialize=["partials"])
def sum_partials(
    partial_weight,
    partial_bias,
    d_weight,
    d_bias,
    partials,
    COLUMNS: tl.constexpr,
    BLOCK_PARTIALS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Column sums of the ``partials`` x ``COLUMNS`` partial sums: a program takes a strip of columns."""
    column = tl.program_id(0) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    if partial_weight is not None:
        weight_sum = tl.zeros([BLOCK_PARTIALS, BLOCK_COLUMNS], dtype=partial_weight.dtype.element_ty)
    if partial_bias is not None:
        bias_sum = tl.zeros([BLOCK_PARTIALS, BLOCK_COLUMNS], dtype=partial_bias.dtype.element_ty)
    for start in range(0, partials, BLOCK_PARTIALS):
        row = start + tl.arange(0, BLOCK_PARTIALS)
        inside = (row < partials)[:, None] & (column < COLUMNS)[None, :]
        place = row.to(tl.int64)[:, None] * COLUMNS + column[None, :]
        if partial_weight is not None:
            weight_sum += tl.load(partial_weight + place, mask=inside, other=0.0)
        if partial_bias is not None:
            bias_sum += tl.load(partial_bias + place, mask=inside, other=0.0)
    if partial_weight is not None:
        tl.store(d_weight + column, tl.sum(weight_sum, axis=0).to(d_weight.dtype.element_ty), mask=column < COLUMNS)
    if partial_bias is not None:
        tl.store(d_bias + column, tl.sum(bias_sum, axis=0).to(d_bias.dtype.element_ty), mask=column < COLUMNS)
