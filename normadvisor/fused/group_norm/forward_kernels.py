"""Kernels of GroupNorm + activation.

``x`` is (samples, channels, positions), channels first or last, without gaps; a group is ``D`` neighbouring channels of a sample.
Two ways, see :mod:`normadvisor.fused.group_norm.plan`:

- grouped: a program normalizes ``R`` groups. What fits is kept in registers and read once; else the group is read twice, the second time
  from the caches.
- split: programs share a group. ``split_statistics`` gives mean and squared deviations of every channel over a chunk of the positions,
  ``combine_statistics`` those of the groups, ``split_apply`` the output.

Variances are sums of squared deviations from a mean, never differences of sums: lanes go by Welford's recurrence, parts are joined by the
formula of Chan, Golub and LeVeque (1979). A mean is kept as the sum of two numbers, the first of which is near the inputs and the second
what is missing: ``(x - near) - rest`` is right to the last bits where the mean is a thousand times the deviation, which a mean of one
float32 is not. Sums have a fixed order. Offsets of a program are 64 bits wide, those inside a tile 32.

Statistics are (3, rows): the two parts of the mean, and the reciprocal standard deviation.
"""

from __future__ import annotations

import triton
import triton.language as tl

from normadvisor.fused.common.triton_activations import activate

__all__ = [
    "channel_parameters",
    "combine_statistics",
    "group_statistics",
    "grouped_channels",
    "grouped_forward",
    "grouped_place",
    "grouped_tile",
    "scaled",
    "split_apply",
    "split_place",
    "split_statistics",
    "split_tile",
]


@triton.jit
def group_statistics(statistics_ptr, rows, row, mask):
    """Both parts of the mean and the reciprocal standard deviation of groups."""
    near = tl.load(statistics_ptr + row, mask=mask, other=0.0)
    rest = tl.load(statistics_ptr + rows + row, mask=mask, other=0.0)
    rstd = tl.load(statistics_ptr + 2 * rows + row, mask=mask, other=0.0)
    return near, rest, rstd


@triton.jit
def channel_parameters(weight_ptr, bias_ptr, channel, mask, ACC: tl.constexpr):
    """Weight and bias of channels; 1 and 0 where there are none, which costs nothing in :func:`scaled`."""
    weight = tl.full(channel.shape, 1.0, ACC)
    if weight_ptr is not None:
        weight = tl.load(weight_ptr + channel, mask=mask, other=0.0).to(ACC)
    bias = tl.full(channel.shape, 0.0, ACC)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + channel, mask=mask, other=0.0).to(ACC)
    return weight, bias


@triton.jit
def scaled(n, weight, bias, HAS_BIAS: tl.constexpr):
    """What is activated: the compiler drops a multiplication by 1, but not an addition of 0, which changes -0."""
    z = n * weight
    if HAS_BIAS:
        z += bias
    return z


@triton.jit
def grouped_place(rows, groups, D, S, CHANNELS_LAST: tl.constexpr, R: tl.constexpr):
    """Rows (sample * groups + group) of a program and whether they exist, their groups, the first element, and the strides of a tile."""
    program = tl.program_id(0).to(tl.int64)
    r = tl.arange(0, R)
    if CHANNELS_LAST:
        blocks = tl.cdiv(groups, R)
        sample = program // blocks
        first = (program % blocks) * R
        group = first + r
        keep = group < groups
        row = sample * groups + group
        base = (sample * S * groups + first) * D
        r_stride = D
        d_stride = 1
        s_stride = groups * D
    else:
        first = program * R
        row = first + r
        keep = row < rows
        group = row % groups
        base = first * D * S
        r_stride = D * S
        d_stride = S
        s_stride = 1
    return row, keep, group, base, r_stride, d_stride, s_stride


@triton.jit
def grouped_channels(group, keep, d0, d, D):
    """Channels of a tile that begins at channel ``d0`` of its groups, and whether they exist."""
    return group[:, None] * D + d0 + d[None, :], keep[:, None] & (d0 + d < D)[None, :]


@triton.jit
def grouped_tile(base, d_mask, d0, s0, s, S, d_stride, s_stride):
    """First element of a tile that begins at channel ``d0`` and position ``s0``, and which elements of it exist."""
    start = base + tl.cast(d0, tl.int64) * d_stride + tl.cast(s0, tl.int64) * s_stride
    return start, d_mask[:, :, None] & (s0 + s < S)[None, None, :]


@triton.jit
def _grouped_write(y_ptr, place, mask, n, channel, d_mask, weight_ptr, bias_ptr, SLOPE: tl.constexpr, ACT: tl.constexpr, ACC: tl.constexpr):
    """Scale and activate a tile."""
    weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, d_mask, ACC)
    z = scaled(n, weight[:, :, None], bias[:, :, None], bias_ptr is not None)
    tl.store(y_ptr + place, activate(z, tl.full((), SLOPE, ACC), ACT).to(y_ptr.dtype.element_ty), mask=mask)


# What changes with the size of a batch is no part of what is compiled; the number of groups tells how tiles are aligned.
@triton.jit(do_not_specialize=["rows"])
def grouped_forward(
    x_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    statistics_ptr,
    rows,
    groups,
    d_units,
    s_units,
    EPS: tl.constexpr,
    ACT: tl.constexpr,
    SLOPE: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    D_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    R: tl.constexpr,
    BD: tl.constexpr,
    BS: tl.constexpr,
    LOOP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Normalize ``R`` groups of ``d_units * D_UNIT`` channels and ``s_units * S_UNIT`` positions in tiles of ``R`` x ``BD`` x ``BS``."""
    # Factors known when compiling tell how far loads are aligned.
    D = d_units * D_UNIT
    S = s_units * S_UNIT
    row, keep, group, base, r_stride, d_stride, s_stride = grouped_place(rows, groups, D, S, CHANNELS_LAST, R)
    d = tl.arange(0, BD)
    s = tl.arange(0, BS)
    inside = tl.arange(0, R)[:, None, None] * r_stride + d[None, :, None] * d_stride + s[None, None, :] * s_stride
    size = tl.cast(D, ACC) * S
    if LOOP:
        near = tl.zeros([R], ACC)
        rest = tl.zeros([R], ACC)
        m2 = tl.zeros([R], ACC)
        for d0 in range(0, D, BD):
            _, d_mask = grouped_channels(group, keep, d0, d, D)
            for s0 in range(0, S, BS):
                start, mask = grouped_tile(base, d_mask, d0, s0, s, S, d_stride, s_stride)
                x = tl.load(x_ptr + start + inside, mask=mask, other=0.0).to(ACC)
                height = tl.cast(tl.minimum(D - d0, BD), ACC)
                now = height * tl.minimum(S - s0, BS)
                before = tl.cast(d0, ACC) * S + height * s0
                tile_mean = tl.sum(tl.sum(x, axis=2), axis=1) / now
                away = tl.where(mask, x - tile_mean[:, None, None], 0.0)
                missing = tl.sum(tl.sum(away, axis=2), axis=1) / now
                near = tl.where(before == 0.0, tile_mean, near)
                step = (tile_mean - near) + missing - rest
                share = now / (before + now)
                rest += step * share
                m2 += tl.sum(tl.sum(away * away, axis=2), axis=1) - missing * missing * now + step * step * before * share
        rstd = tl.rsqrt(m2 / size + EPS)
        d_tiles = tl.cdiv(D, BD)
        s_tiles = tl.cdiv(S, BS)
        # Backwards: what was read last is still in the caches.
        for i in range(d_tiles):
            d0 = (d_tiles - 1 - i) * BD
            channel, d_mask = grouped_channels(group, keep, d0, d, D)
            for j in range(s_tiles):
                start, mask = grouped_tile(base, d_mask, d0, (s_tiles - 1 - j) * BS, s, S, d_stride, s_stride)
                x = tl.load(x_ptr + start + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
                n = ((x - near[:, None, None]) - rest[:, None, None]) * rstd[:, None, None]
                _grouped_write(y_ptr, start + inside, mask, n, channel, d_mask, weight_ptr, bias_ptr, SLOPE, ACT, ACC)
    else:
        channel, d_mask = grouped_channels(group, keep, 0, d, D)
        mask = d_mask[:, :, None] & (s < S)[None, None, :]
        x = tl.load(x_ptr + base + inside, mask=mask, other=0.0).to(ACC)
        near = tl.sum(tl.sum(x, axis=2), axis=1) / size
        away = tl.where(mask, x - near[:, None, None], 0.0)
        rest = tl.sum(tl.sum(away, axis=2), axis=1) / size
        rstd = tl.rsqrt(tl.sum(tl.sum(away * away, axis=2), axis=1) / size - rest * rest + EPS)
        n = (away - rest[:, None, None]) * rstd[:, None, None]
        _grouped_write(y_ptr, base + inside, mask, n, channel, d_mask, weight_ptr, bias_ptr, SLOPE, ACT, ACC)
    tl.store(statistics_ptr + row, near, mask=keep)
    tl.store(statistics_ptr + rows + row, rest, mask=keep)
    tl.store(statistics_ptr + 2 * rows + row, rstd, mask=keep)


@triton.jit
def split_place(C, S, chunks, tiles, CHANNELS_LAST: tl.constexpr, REVERSED: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr):
    """Give what a program works on.

    These are its sample, channels, whether they exist, and chunk; the first position and the number of tiles; the first element, the
    offsets inside a tile, and the elements from one position to the next.

    Neighbouring programs take neighbouring memory. A kernel that reads what another has just read goes backwards, ``REVERSED``: the L2
    cache holds what was read last.
    """
    program = tl.program_id(0)
    if REVERSED:
        program = tl.num_programs(0) - 1 - program
    blocks = tl.cdiv(C, BC)
    if CHANNELS_LAST:
        block = program % blocks
        chunk = (program // blocks) % chunks
        c_stride = 1
        s_stride = C
    else:
        chunk = program % chunks
        block = (program // chunks) % blocks
        c_stride = S
        s_stride = 1
    sample = (program // blocks // chunks).to(tl.int64)
    first = block * BC
    start = chunk * tiles * BS
    base = sample * C * S + first.to(tl.int64) * c_stride + start.to(tl.int64) * s_stride
    tiles = tl.minimum(tiles, tl.cdiv(S - start, BS))
    c = tl.arange(0, BC)
    inside = c[:, None] * c_stride + tl.arange(0, BS)[None, :] * s_stride
    return sample, first + c, first + c < C, chunk, start, tiles, base, inside, s_stride


@triton.jit
def split_tile(t, base, start, c_mask, S, s_stride, BS: tl.constexpr):
    """First element of tile ``t``, and which elements of it exist."""
    return base + tl.cast(t * BS, tl.int64) * s_stride, c_mask[:, None] & (start + t * BS + tl.arange(0, BS) < S)[None, :]


@triton.jit(do_not_specialize=["chunks"])
def split_statistics(
    x_ptr,
    near_ptr,
    rest_ptr,
    m2_ptr,
    c_units,
    s_units,
    chunks,
    tiles,
    CHANNELS_LAST: tl.constexpr,
    C_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    BC: tl.constexpr,
    BS: tl.constexpr,
    EVEN: tl.constexpr,
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    """Give mean and sum of squared deviations of ``BC`` channels over ``tiles * BS`` positions; out: (samples, chunks, channels).

    Where tiles are ``EVEN``, so that all of their elements exist, a third of the instructions is left out.
    """
    C = c_units * C_UNIT
    S = s_units * S_UNIT
    sample, channel, c_mask, chunk, start, tiles_here, base, inside, s_stride = split_place(
        C, S, chunks, tiles, CHANNELS_LAST, False, BC, BS
    )
    _, mask = split_tile(0, base, start, c_mask, S, s_stride, BS)
    if EVEN:
        mask = tl.full([BC, BS], True, tl.int1)
    x = tl.load(x_ptr + base + inside, mask=mask, other=0.0).to(ACC)
    # The mean of the first tile is what the others are compared with.
    near = tl.sum(x, axis=1) / tl.cast(tl.minimum(S - start, BS), ACC)
    mean = tl.where(mask, x - near[:, None], 0.0)
    m2 = tl.zeros([BC, BS], ACC)
    for t in tl.range(1, tiles_here, num_stages=STAGES):
        here, mask = split_tile(t, base, start, c_mask, S, s_stride, BS)
        if EVEN:
            mask = tl.full([BC, BS], True, tl.int1)
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0).to(ACC) - near[:, None]
        # Only in its last tile can a lane be out of range, so all lanes that count have seen t values before. One division for all of them.
        share = 1.0 / (tl.cast(t, ACC) + 1.0)
        step = tl.where(mask, x - mean, 0.0)
        mean += step * share
        m2 += step * (x - mean)
    left = tl.minimum(S - start, tiles * BS)
    seen = tl.cast(tl.maximum(tl.cdiv(left - tl.arange(0, BS), BS), 0), ACC)[None, :]
    rest = tl.sum(mean * seen, axis=1) / tl.cast(left, ACC)
    away = mean - rest[:, None]
    at = (sample * chunks + chunk) * C + channel
    tl.store(near_ptr + at, near, mask=c_mask)
    tl.store(rest_ptr + at, rest, mask=c_mask)
    tl.store(m2_ptr + at, tl.sum(m2 + seen * away * away, axis=1), mask=c_mask)


@triton.jit
def _part(part_near_ptr, part_rest_ptr, near, first, e, entries, stride, D, S, chunk_size, ACC: tl.constexpr):
    """Where partial statistics stand and whether they exist; of how many positions they are, and how far their means are from ``near``."""
    keep = e < entries
    chunk = e // D
    at = first + chunk * stride + e % D
    count = tl.cast(tl.minimum(S - chunk * chunk_size, chunk_size), ACC)
    mean = (tl.load(part_near_ptr + at, mask=keep, other=0.0) - near) + tl.load(part_rest_ptr + at, mask=keep, other=0.0)
    return at, keep, count, mean


@triton.jit(do_not_specialize=["rows", "S", "chunks", "chunk_size"])
def combine_statistics(
    part_near_ptr,
    part_rest_ptr,
    part_m2_ptr,
    statistics_ptr,
    rows,
    groups,
    D,
    S,
    chunks,
    chunk_size,
    EPS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    """Join the statistics of the channels and chunks of one group."""
    row = tl.program_id(0)
    first = (row // groups).to(tl.int64) * chunks * groups * D + (row % groups) * D
    entries = chunks * D
    lane = tl.arange(0, BLOCK)
    near = tl.load(part_near_ptr + first)
    total = tl.zeros([BLOCK], ACC)
    for e0 in range(0, entries, BLOCK):
        _, keep, count, mean = _part(part_near_ptr, part_rest_ptr, near, first, e0 + lane, entries, groups * D, D, S, chunk_size, ACC)
        total += tl.where(keep, count * mean, 0.0)
    size = tl.cast(D, ACC) * S
    rest = tl.sum(total, axis=0) / size
    m2 = tl.zeros([BLOCK], ACC)
    for e0 in range(0, entries, BLOCK):
        at, keep, count, mean = _part(part_near_ptr, part_rest_ptr, near, first, e0 + lane, entries, groups * D, D, S, chunk_size, ACC)
        away = mean - rest
        m2 += tl.load(part_m2_ptr + at, mask=keep, other=0.0) + tl.where(keep, count * away * away, 0.0)
    tl.store(statistics_ptr + row, near)
    tl.store(statistics_ptr + rows + row, rest)
    tl.store(statistics_ptr + 2 * rows + row, tl.rsqrt(tl.sum(m2, axis=0) / size + EPS))


@triton.jit(do_not_specialize=["rows", "chunks"])
def split_apply(
    x_ptr,
    weight_ptr,
    bias_ptr,
    statistics_ptr,
    y_ptr,
    rows,
    groups,
    c_units,
    s_units,
    chunks,
    tiles,
    ACT: tl.constexpr,
    SLOPE: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    C_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    BC: tl.constexpr,
    BS: tl.constexpr,
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    """Normalize ``BC`` channels at ``tiles * BS`` positions by the statistics of their groups."""
    C = c_units * C_UNIT
    S = s_units * S_UNIT
    sample, channel, c_mask, _, start, tiles_here, base, inside, s_stride = split_place(C, S, chunks, tiles, CHANNELS_LAST, True, BC, BS)
    near, rest, rstd = group_statistics(statistics_ptr, rows, sample * groups + channel // (C // groups), c_mask)
    weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, c_mask, ACC)
    scale = rstd * weight
    for t in tl.range(0, tiles_here, num_stages=STAGES):
        here, mask = split_tile(t, base, start, c_mask, S, s_stride, BS)
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
        z = scaled((x - near[:, None]) - rest[:, None], scale[:, None], bias[:, None], bias_ptr is not None)
        tl.store(y_ptr + here + inside, activate(z, tl.full((), SLOPE, ACC), ACT).to(y_ptr.dtype.element_ty), mask=mask)
