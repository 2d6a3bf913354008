"""The kernels of BatchNorm. Import it only where Triton is known to be there.

A tensor (N, C, *spatial) is a matrix of rows that lie one behind the other. Channels last: one row per place, one column per channel.
Channels first: one row per sample and channel, one column per place. ``column_groups * ALIGNMENT`` is the number of columns: so the
compiler knows how rows are aligned, and one kernel serves many sizes.

Sums over a channel are taken in a fixed order: programs of one channel (a block of channels with channels last) hold every ``splits``-th
tile, and ``combine_*`` adds their results. Nothing is atomic, so that the same input gives the same bits. Where two passes go over a
tensor, the second one begins at its end, which is still in the cache.

Statistics are sums of distances from a shift, as the mean of a channel may be far larger than its deviation. The shift is the mean of the
program's own first tile: of K tiles it lies at most sqrt(K) deviations from the mean, so that at most the factor K of precision is lost,
and a channel that holds one value only has exactly that mean and no variance. Splits are combined as in Chan, Golub and LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances" (1979).
"""

from __future__ import annotations

import triton
import triton.language as tl

from normadvisor.fused.common.triton_activations import activate, activation_derivative

__all__ = [
    "apply_kernel",
    "combine_gradients_kernel",
    "combine_statistics_kernel",
    "gradients_kernel",
    "input_gradient_kernel",
    "statistics_kernel",
]


@triton.jit
def _place(tile, column_tiles, first_column, CHANNELS_LAST: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr):
    """First row and first column of a tile; tiles run down the rows (channels last), or along the columns first."""
    if CHANNELS_LAST:
        row = tl.cast(tile, tl.int64) * BLOCK_ROWS
        column = first_column
    else:
        row = tl.cast(tile // column_tiles, tl.int64) * BLOCK_ROWS
        column = (tile % column_tiles) * BLOCK_COLUMNS + first_column
    return row, column


@triton.jit
def _reduced(values, CHANNELS_LAST: tl.constexpr):
    """The sum of a tile over all that belongs to one channel: one number per column (channels last), or one number."""
    return tl.sum(values, axis=0) if CHANNELS_LAST else tl.sum(tl.sum(values, axis=1), axis=0)


@triton.jit
def _finish_statistics(
    mean, squares, count, channel, mask, mean_ptr, var_ptr, running_mean_ptr, running_var_ptr, batches_ptr, momentum, momentum_rest
):
    """Store mean and biased variance, and move the running statistics towards mean and unbiased variance as torch does."""
    tl.store(mean_ptr + channel, mean, mask=mask)
    tl.store(var_ptr + channel, squares / count, mask=mask)
    if running_mean_ptr is not None:
        if batches_ptr is not None:
            factor = 1.0 / tl.load(batches_ptr).to(mean.dtype)
        else:
            # Arguments of kernels are float32; the rest of momentum matters in float64 alone.
            factor = tl.cast(momentum, mean.dtype) + tl.cast(momentum_rest, mean.dtype)
        old_mean = tl.load(running_mean_ptr + channel, mask=mask, other=0.0).to(mean.dtype)
        old_var = tl.load(running_var_ptr + channel, mask=mask, other=0.0).to(mean.dtype)
        tl.store(running_mean_ptr + channel, factor * mean + (1.0 - factor) * old_mean, mask=mask)
        tl.store(running_var_ptr + channel, factor * (squares / (count - 1.0)) + (1.0 - factor) * old_var, mask=mask)


@triton.jit
def statistics_kernel(
    x_ptr, partial_ptr, mean_ptr, var_ptr, running_mean_ptr, running_var_ptr, batches_ptr, momentum, momentum_rest,
    rows, column_groups, channels, tiles, column_tiles, channel_blocks, splits,
    CHANNELS_LAST: tl.constexpr, ALIGNMENT: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    SPLIT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Count, mean and sum of squared distances from it, of every channel and split; or, of a single split, what torch keeps of them.

    ``rows`` are samples with channels first. ``partial_ptr``: (3, splits, channels).
    """
    program = tl.program_id(0)
    columns = column_groups * ALIGNMENT
    split = program // channel_blocks
    part = program % channel_blocks
    row_range = tl.arange(0, BLOCK_ROWS)
    column_range = tl.arange(0, BLOCK_COLUMNS)
    if CHANNELS_LAST:
        channel = part * BLOCK_COLUMNS + column_range
        known = channel < channels
        first_column = part * BLOCK_COLUMNS
        base_ptr = x_ptr
        stride = tl.cast(columns, tl.int64)
    else:
        channel = part
        known = part < channels
        first_column = 0
        base_ptr = x_ptr + tl.cast(part, tl.int64) * columns
        stride = tl.cast(channels, tl.int64) * columns

    first, left = _place(split, column_tiles, first_column, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLUMNS)
    inside = (first + row_range < rows)[:, None] & (left + column_range < columns)[None, :]
    values = tl.load(base_ptr + ((first + row_range) * stride)[:, None] + (left + column_range)[None, :], mask=inside, other=0.0).to(WIDE)
    size = tl.minimum(rows - first, BLOCK_ROWS).to(WIDE)
    if CHANNELS_LAST:
        start = tl.load(base_ptr + first * stride + channel, mask=known, other=0.0).to(WIDE)
        shift = start + tl.sum(tl.where(inside, values - start[None, :], 0.0), axis=0) / size
        center = shift[None, :]
    else:
        size *= tl.minimum(columns - left, BLOCK_COLUMNS).to(WIDE)
        start = tl.load(base_ptr + first * stride + left).to(WIDE)
        shift = start + tl.sum(tl.sum(tl.where(inside, values - start, 0.0), axis=1), axis=0) / size
        center = shift

    total = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=WIDE)
    squares = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=WIDE)
    count = size * 0.0
    for tile in range(split, tiles, splits):
        row, column = _place(tile, column_tiles, first_column, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLUMNS)
        filled = (row + row_range < rows)[:, None] & (column + column_range < columns)[None, :]
        x = tl.load(base_ptr + ((row + row_range) * stride)[:, None] + (column + column_range)[None, :], mask=filled, other=0.0).to(WIDE)
        distance = tl.where(filled, x - center, 0.0)
        total += distance
        squares += distance * distance
        if CHANNELS_LAST:
            count += tl.minimum(rows - row, BLOCK_ROWS).to(WIDE)
        else:
            count += tl.minimum(rows - row, BLOCK_ROWS).to(WIDE) * tl.minimum(columns - column, BLOCK_COLUMNS).to(WIDE)

    moved = _reduced(total, CHANNELS_LAST)
    mean = shift + moved / count
    spread = _reduced(squares, CHANNELS_LAST) - moved * (moved / count)
    spread = tl.where(spread < 0.0, 0.0, spread)  # not tl.maximum: NaN stays NaN
    if SPLIT:
        place = partial_ptr + split * channels + channel
        plane = splits * channels
        tl.store(place, channel * 0 + count, mask=known)
        tl.store(place + plane, mean, mask=known)
        tl.store(place + 2 * plane, spread, mask=known)
    else:
        _finish_statistics(
            mean, spread, count, channel, known, mean_ptr, var_ptr, running_mean_ptr, running_var_ptr, batches_ptr, momentum, momentum_rest
        )


@triton.jit(do_not_specialize=["splits"])
def combine_statistics_kernel(
    partial_ptr, mean_ptr, var_ptr, running_mean_ptr, running_var_ptr, batches_ptr, momentum, momentum_rest, channels, splits,
    BLOCK_SPLITS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """Combine the splits of each channel."""
    channel = tl.program_id(0) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    split = tl.arange(0, BLOCK_SPLITS)
    known = channel < channels
    inside = (split < splits)[:, None] & known[None, :]
    place = partial_ptr + split[:, None] * channels + channel[None, :]
    plane = splits * channels
    counts = tl.load(place, mask=inside, other=0.0)
    means = tl.load(place + plane, mask=inside, other=0.0)
    spreads = tl.load(place + 2 * plane, mask=inside, other=0.0)
    start = tl.load(partial_ptr + plane + channel, mask=known, other=0.0)
    count = tl.where(known, tl.sum(counts, axis=0), 2.0)
    distance = tl.where(inside, means - start[None, :], 0.0)
    moved = tl.sum(counts * distance, axis=0) / count
    distance = tl.where(inside, distance - moved[None, :], 0.0)
    spread = tl.sum(spreads + counts * distance * distance, axis=0)
    mean = start + moved
    _finish_statistics(
        mean, spread, count, channel, known, mean_ptr, var_ptr, running_mean_ptr, running_var_ptr, batches_ptr, momentum, momentum_rest
    )


@triton.jit
def _parameters(channel, mask, mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS: tl.constexpr, WIDE: tl.constexpr):
    """Mean, 1 / deviation, weight / deviation, and bias of channels."""
    mean = tl.load(mean_ptr + channel, mask=mask, other=0.0).to(WIDE)
    inverse = tl.rsqrt(tl.load(var_ptr + channel, mask=mask, other=1.0).to(WIDE) + EPS)
    scale = tl.load(weight_ptr + channel, mask=mask, other=0.0).to(WIDE) * inverse if weight_ptr is not None else inverse
    bias = tl.load(bias_ptr + channel, mask=mask, other=0.0).to(WIDE) if bias_ptr is not None else inverse * 0.0
    return mean, inverse, scale, bias


@triton.jit
def apply_kernel(
    x_ptr, residual_ptr, y_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr,
    rows, column_groups, channels, column_tiles,
    CHANNELS_LAST: tl.constexpr, ALIGNMENT: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, STEPS: tl.constexpr,
    EPS: tl.constexpr, SLOPE: tl.constexpr, ACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Normalize, scale and shift, add the residual, activate. ``rows`` are all rows; a program does STEPS tiles below each other."""
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    columns = column_groups * ALIGNMENT
    first = tl.cast(program // column_tiles, tl.int64) * (BLOCK_ROWS * STEPS)
    column = (program % column_tiles) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    row_range = tl.arange(0, BLOCK_ROWS)
    if CHANNELS_LAST:
        mean, _, scale, bias = _parameters(column[None, :], (column < columns)[None, :], mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)
    for step in range(STEPS):
        row = first + step * BLOCK_ROWS + row_range
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        offset = (row * columns)[:, None]
        if not CHANNELS_LAST:
            channel = ((first + step * BLOCK_ROWS) % channels).to(tl.int32) + row_range
            known = (row < rows)[:, None]
            mean, _, scale, bias = _parameters((channel % channels)[:, None], known, mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)
        x = tl.load(x_ptr + offset + column[None, :], mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE)
        z = (x - mean) * scale + bias
        if residual_ptr is not None:
            z += tl.load(residual_ptr + offset + column[None, :], mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE)
        tl.store(y_ptr + offset + column[None, :], activate(z, tl.full((), SLOPE, WIDE), ACT), mask=inside)


@triton.jit
def gradients_kernel(
    x_ptr, residual_ptr, dy_ptr, dz_ptr, dx_ptr, partial_ptr, sums_ptr, dweight_ptr, dbias_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr,
    rows, column_groups, channels, tiles, column_tiles, channel_blocks, splits,
    CHANNELS_LAST: tl.constexpr, ALIGNMENT: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    SPLIT: tl.constexpr, EPS: tl.constexpr, SLOPE: tl.constexpr, ACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Sums of dz and of dz * normalized x over each channel and split, where z is what is activated.

    Where it has a pointer, dz is stored as well (it is the gradient of the residual), and so is dx of constant statistics. ``rows`` are
    samples with channels first. ``partial_ptr``: (2, splits, channels); ``sums_ptr``: (2, channels).
    """
    program = tl.program_id(0)
    columns = column_groups * ALIGNMENT
    split = program // channel_blocks
    part = program % channel_blocks
    row_range = tl.arange(0, BLOCK_ROWS)
    column_range = tl.arange(0, BLOCK_COLUMNS)
    if CHANNELS_LAST:
        channel = part * BLOCK_COLUMNS + column_range
        known = channel < channels
        first_column = part * BLOCK_COLUMNS
        base = tl.cast(0, tl.int64)
        stride = tl.cast(columns, tl.int64)
        mean, inverse, scale, bias = _parameters(channel[None, :], known[None, :], mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)
    else:
        channel = part
        known = part < channels
        first_column = 0
        base = tl.cast(part, tl.int64) * columns
        stride = tl.cast(channels, tl.int64) * columns
        mean, inverse, scale, bias = _parameters(channel, known, mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)

    plain = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=WIDE)
    weighted = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], dtype=WIDE)
    for tile in range(split, tiles, splits):
        first, left = _place(tile, column_tiles, first_column, CHANNELS_LAST, BLOCK_ROWS, BLOCK_COLUMNS)
        inside = (first + row_range < rows)[:, None] & (left + column_range < columns)[None, :]
        offset = (base + (first + row_range) * stride)[:, None]
        column = (left + column_range)[None, :]
        distance = tl.load(x_ptr + offset + column, mask=inside, other=0.0).to(WIDE) - mean
        dz = tl.load(dy_ptr + offset + column, mask=inside, other=0.0).to(WIDE)
        if ACT != "none":
            z = distance * scale + bias
            if residual_ptr is not None:
                z += tl.load(residual_ptr + offset + column, mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE)
            dz *= activation_derivative(z, tl.full((), SLOPE, WIDE), ACT)
        if dz_ptr is not None:
            tl.store(dz_ptr + offset + column, dz, mask=inside)
        if dx_ptr is not None:
            tl.store(dx_ptr + offset + column, dz * scale, mask=inside)
        # Lanes outside have dy = 0, and so dz = 0, unless the statistics are not finite.
        plain += tl.where(inside, dz, 0.0)
        weighted += tl.where(inside, dz * distance, 0.0)

    plain_sum = _reduced(plain, CHANNELS_LAST)
    weighted_sum = _reduced(weighted, CHANNELS_LAST)
    if CHANNELS_LAST:
        weighted_sum *= tl.rsqrt(tl.load(var_ptr + channel, mask=known, other=1.0).to(WIDE) + EPS)
    else:
        weighted_sum *= inverse
    if SPLIT:
        place = partial_ptr + split * channels + channel
        tl.store(place, plain_sum, mask=known)
        tl.store(place + splits * channels, weighted_sum, mask=known)
    else:
        _finish_gradients(plain_sum, weighted_sum, channel, known, channels, sums_ptr, dweight_ptr, dbias_ptr)


@triton.jit
def _finish_gradients(plain, weighted, channel, mask, channels, sums_ptr, dweight_ptr, dbias_ptr):
    if sums_ptr is not None:
        tl.store(sums_ptr + channel, plain, mask=mask)
        tl.store(sums_ptr + channels + channel, weighted, mask=mask)
    if dweight_ptr is not None:
        tl.store(dweight_ptr + channel, weighted, mask=mask)
    if dbias_ptr is not None:
        tl.store(dbias_ptr + channel, plain, mask=mask)


@triton.jit(do_not_specialize=["splits"])
def combine_gradients_kernel(
    partial_ptr, sums_ptr, dweight_ptr, dbias_ptr, channels, splits, BLOCK_SPLITS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr
):
    """Add up the splits of each channel."""
    channel = tl.program_id(0) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    split = tl.arange(0, BLOCK_SPLITS)
    known = channel < channels
    inside = (split < splits)[:, None] & known[None, :]
    place = partial_ptr + split[:, None] * channels + channel[None, :]
    plain = tl.sum(tl.load(place, mask=inside, other=0.0), axis=0)
    weighted = tl.sum(tl.load(place + splits * channels, mask=inside, other=0.0), axis=0)
    _finish_gradients(plain, weighted, channel, known, channels, sums_ptr, dweight_ptr, dbias_ptr)


@triton.jit(do_not_specialize=["count"])
def input_gradient_kernel(
    x_ptr, residual_ptr, dy_ptr, dz_ptr, dx_ptr, sums_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr,
    rows, column_groups, channels, column_tiles, count,
    CHANNELS_LAST: tl.constexpr, ALIGNMENT: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, STEPS: tl.constexpr,
    EPS: tl.constexpr, SLOPE: tl.constexpr, ACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient of x, through the statistics of the batch where ``sums_ptr`` has the sums that their gradient needs.

    ``dy_ptr`` is dz already where ACT is "none". Where it has a pointer, dz is stored as well. ``rows`` are all rows of the tensor.
    """
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    columns = column_groups * ALIGNMENT
    first = tl.cast(program // column_tiles, tl.int64) * (BLOCK_ROWS * STEPS)
    column = (program % column_tiles) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    row_range = tl.arange(0, BLOCK_ROWS)
    if CHANNELS_LAST:
        across = column[None, :]
        known = (column < columns)[None, :]
        mean, inverse, scale, bias = _parameters(across, known, mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)
        plain, slant = _means_of_gradients(across, known, channels, sums_ptr, inverse, count, WIDE)
    for step in range(STEPS):
        row = first + step * BLOCK_ROWS + row_range
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        offset = (row * columns)[:, None]
        if not CHANNELS_LAST:
            channel = (((first + step * BLOCK_ROWS) % channels).to(tl.int32) + row_range) % channels
            down = channel[:, None]
            known = (row < rows)[:, None]
            mean, inverse, scale, bias = _parameters(down, known, mean_ptr, var_ptr, weight_ptr, bias_ptr, EPS, WIDE)
            plain, slant = _means_of_gradients(down, known, channels, sums_ptr, inverse, count, WIDE)
        dz = tl.load(dy_ptr + offset + column[None, :], mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE)
        if (ACT != "none") or (sums_ptr is not None):
            distance = tl.load(x_ptr + offset + column[None, :], mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE) - mean
        if ACT != "none":
            z = distance * scale + bias
            if residual_ptr is not None:
                z += tl.load(residual_ptr + offset + column[None, :], mask=inside, other=0.0, eviction_policy="evict_first").to(WIDE)
            dz *= activation_derivative(z, tl.full((), SLOPE, WIDE), ACT)
        if dz_ptr is not None:
            tl.store(dz_ptr + offset + column[None, :], dz, mask=inside)
        if sums_ptr is not None:
            dz = dz - plain - distance * slant
        tl.store(dx_ptr + offset + column[None, :], dz * scale, mask=inside)


@triton.jit
def _means_of_gradients(channel, mask, channels, sums_ptr, inverse, count, WIDE: tl.constexpr):
    """Mean of dz, and what dz moves by for each unit of x's distance from the mean."""
    if sums_ptr is not None:
        share = 1.0 / tl.cast(count, WIDE)
        plain = tl.load(sums_ptr + channel, mask=mask, other=0.0).to(WIDE) * share
        slant = tl.load(sums_ptr + channels + channel, mask=mask, other=0.0).to(WIDE) * share * inverse
    else:
        plain = inverse * 0.0
        slant = inverse * 0.0
    return plain, slant
