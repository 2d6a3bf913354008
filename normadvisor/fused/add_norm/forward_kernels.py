"""Kernels that add two tensors and normalize each row of the sum: one for rows that fit into registers, one for longer rows.

Rows are ``COLUMNS`` long; those of the inputs begin ``X_DISTANCE`` and ``RESIDUAL_DISTANCE`` elements apart, those of the outputs lie one
behind the other. The sum is rounded to its own dtype before anything is computed from it, as in ``layer_norm(x + residual)``, so that
backward, which reads the stored sum, sees what forward saw. Where ``mean`` is ``None`` the mean is not subtracted: RMSNorm. Sizes and
``EPS`` are constants of the compiled kernel, so that rows of any length are read in as wide words as their length allows, and ``EPS`` is
not rounded to float32 for float64.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["add_norm_long_rows", "add_norm_rows"]


@triton.jit(do_not_specialize=["rows"])
def add_norm_rows(
    x,
    residual,
    weight,
    bias,
    out,
    total,
    mean,
    rstd,
    rows,
    EPS: tl.constexpr,
    COLUMNS: tl.constexpr,
    X_DISTANCE: tl.constexpr,
    RESIDUAL_DISTANCE: tl.constexpr,
    STORE_TOTAL: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """``BLOCK_ROWS`` rows to a program, each read once: mean, then the squares around the mean, then the output, all in registers."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.arange(0, BLOCK_COLUMNS)
    inside = (row < rows)[:, None] & (column < COLUMNS)[None, :]
    place = row[:, None] * COLUMNS + column[None, :]
    added = tl.load(x + row[:, None] * X_DISTANCE + column[None, :], mask=inside, other=0.0).to(ACCUMULATOR)
    added += tl.load(residual + row[:, None] * RESIDUAL_DISTANCE + column[None, :], mask=inside, other=0.0).to(ACCUMULATOR)
    rounded = added.to(total.dtype.element_ty)
    if STORE_TOTAL:
        tl.store(total + place, rounded, mask=inside)
    value = rounded.to(ACCUMULATOR)
    if mean is not None:
        row_mean = tl.sum(value, axis=1) / COLUMNS
        tl.store(mean + row, row_mean, mask=row < rows)
        value = tl.where(inside, value - row_mean[:, None], 0.0)
    row_rstd = tl.rsqrt(tl.sum(value * value, axis=1) / COLUMNS + EPS)
    tl.store(rstd + row, row_rstd, mask=row < rows)
    result = value * row_rstd[:, None]
    if weight is not None:
        result *= tl.load(weight + column, mask=column < COLUMNS, other=0.0).to(ACCUMULATOR)[None, :]
    if bias is not None:
        result += tl.load(bias + column, mask=column < COLUMNS, other=0.0).to(ACCUMULATOR)[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def add_norm_long_rows(
    x,
    residual,
    weight,
    bias,
    out,
    total,
    mean,
    rstd,
    EPS: tl.constexpr,
    COLUMNS: tl.constexpr,
    X_DISTANCE: tl.constexpr,
    RESIDUAL_DISTANCE: tl.constexpr,
    STORE_TOTAL: tl.constexpr,
    ACCUMULATOR: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """One row to a program, in blocks.

    Every lane keeps Welford's mean and sum of squares of its own columns; they are combined at the end (Chan, Golub and LeVeque 1979). The
    second pass finds the inputs in the L2 cache. It reads them and not the sum: what other threads stored is not visible without a barrier.
    """
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK_COLUMNS)
    lane_mean = tl.zeros([BLOCK_COLUMNS], dtype=ACCUMULATOR)
    lane_squares = tl.zeros([BLOCK_COLUMNS], dtype=ACCUMULATOR)
    seen = tl.zeros([BLOCK_COLUMNS], dtype=ACCUMULATOR)
    for start in range(0, COLUMNS, BLOCK_COLUMNS):
        inside = start + lane < COLUMNS
        added = tl.load(x + row * X_DISTANCE + start + lane, mask=inside, other=0.0, eviction_policy="evict_last").to(ACCUMULATOR)
        summand = tl.load(residual + row * RESIDUAL_DISTANCE + start + lane, mask=inside, other=0.0, eviction_policy="evict_last")
        added += summand.to(ACCUMULATOR)
        rounded = added.to(total.dtype.element_ty)
        if STORE_TOTAL:
            tl.store(total + row * COLUMNS + start + lane, rounded, mask=inside)
        value = rounded.to(ACCUMULATOR)
        if mean is not None:
            seen += tl.where(inside, 1.0, 0.0).to(ACCUMULATOR)
            difference = tl.where(inside, value - lane_mean, 0.0)
            lane_mean += difference / tl.maximum(seen, 1.0)
            lane_squares += difference * (value - lane_mean)
        else:
            lane_squares += value * value
    squares = tl.sum(lane_squares, axis=0)
    row_mean = tl.sum(lane_mean * seen, axis=0) / COLUMNS
    if mean is not None:
        tl.store(mean + row, row_mean)
        apart = lane_mean - row_mean
        squares += tl.sum(seen * apart * apart, axis=0)
    row_rstd = tl.rsqrt(squares / COLUMNS + EPS)
    tl.store(rstd + row, row_rstd)
    for start in range(0, COLUMNS, BLOCK_COLUMNS):
        inside = start + lane < COLUMNS
        added = tl.load(x + row * X_DISTANCE + start + lane, mask=inside, other=0.0, eviction_policy="evict_first").to(ACCUMULATOR)
        summand = tl.load(residual + row * RESIDUAL_DISTANCE + start + lane, mask=inside, other=0.0, eviction_policy="evict_first")
        added += summand.to(ACCUMULATOR)
        result = (added.to(total.dtype.element_ty).to(ACCUMULATOR) - row_mean) * row_rstd
        if weight is not None:
            result *= tl.load(weight + start + lane, mask=inside, other=0.0).to(ACCUMULATOR)
        if bias is not None:
            result += tl.load(bias + start + lane, mask=inside, other=0.0).to(ACCUMULATOR)
        tl.store(out + row * COLUMNS + start + lane, result.to(out.dtype.element_ty), mask=inside)
