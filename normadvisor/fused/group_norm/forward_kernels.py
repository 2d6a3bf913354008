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

__all__ = ["combine_statistics", "grouped_forward", "grouped_place", "split_apply", "split_place", "split_statistics"]


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
    slope,
    EPS: tl.constexpr,
    ACT: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
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
            for s0 in range(0, S, BS):
                mask = keep[:, None, None] & (d0 + d < D)[None, :, None] & (s0 + s < S)[None, None, :]
                start = base + tl.cast(d0, tl.int64) * d_stride + tl.cast(s0, tl.int64) * s_stride
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
            d_mask = keep[:, None] & (d0 + d < D)[None, :]
            channel = group[:, None] * D + d0 + d[None, :]
            for j in range(s_tiles):
                s0 = (s_tiles - 1 - j) * BS
                mask = d_mask[:, :, None] & (s0 + s < S)[None, None, :]
                start = base + tl.cast(d0, tl.int64) * d_stride + tl.cast(s0, tl.int64) * s_stride
                x = tl.load(x_ptr + start + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
                z = ((x - near[:, None, None]) - rest[:, None, None]) * rstd[:, None, None]
                if HAS_WEIGHT:
                    z *= tl.load(weight_ptr + channel, mask=d_mask, other=0.0).to(ACC)[:, :, None]
                if HAS_BIAS:
                    z += tl.load(bias_ptr + channel, mask=d_mask, other=0.0).to(ACC)[:, :, None]
                tl.store(y_ptr + start + inside, activate(z, slope, ACT).to(y_ptr.dtype.element_ty), mask=mask)
    else:
        d_mask = keep[:, None] & (d < D)[None, :]
        mask = d_mask[:, :, None] & (s < S)[None, None, :]
        channel = group[:, None] * D + d[None, :]
        x = tl.load(x_ptr + base + inside, mask=mask, other=0.0).to(ACC)
        near = tl.sum(tl.sum(x, axis=2), axis=1) / size
        away = tl.where(mask, x - near[:, None, None], 0.0)
        rest = tl.sum(tl.sum(away, axis=2), axis=1) / size
        rstd = tl.rsqrt(tl.sum(tl.sum(away * away, axis=2), axis=1) / size - rest * rest + EPS)
        z = (away - rest[:, None, None]) * rstd[:, None, None]
        if HAS_WEIGHT:
            z *= tl.load(weight_ptr + channel, mask=d_mask, other=0.0).to(ACC)[:, :, None]
        if HAS_BIAS:
            z += tl.load(bias_ptr + channel, mask=d_mask, other=0.0).to(ACC)[:, :, None]
        tl.store(y_ptr + base + inside, activate(z, slope, ACT).to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(statistics_ptr + row, near, mask=keep)
    tl.store(statistics_ptr + rows + row, rest, mask=keep)
    tl.store(statistics_ptr + 2 * rows + row, rstd, mask=keep)


@triton.jit
def split_place(C, S, chunks, tiles, CHANNELS_LAST: tl.constexpr, REVERSED: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr):
    """Give sample, first channel and chunk of a program, its first element and position, its tiles, and the strides of a tile.

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
    return sample, first, chunk, base, start, tiles, c_stride, s_stride


@triton.jit
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
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    """Give mean and sum of squared deviations of ``BC`` channels over ``tiles * BS`` positions; out: (samples, chunks, channels)."""
    C = c_units * C_UNIT
    S = s_units * S_UNIT
    sample, first, chunk, base, start, tiles_here, c_stride, s_stride = split_place(C, S, chunks, tiles, CHANNELS_LAST, False, BC, BS)
    c = tl.arange(0, BC)
    s = tl.arange(0, BS)
    c_mask = first + c < C
    inside = c[:, None] * c_stride + s[None, :] * s_stride
    mask = c_mask[:, None] & (start + s < S)[None, :]
    x = tl.load(x_ptr + base + inside, mask=mask, other=0.0).to(ACC)
    # The mean of the first tile is what the others are compared with.
    near = tl.sum(x, axis=1) / tl.cast(tl.minimum(S - start, BS), ACC)
    mean = tl.where(mask, x - near[:, None], 0.0)
    m2 = tl.zeros([BC, BS], ACC)
    for t in tl.range(1, tiles_here, num_stages=STAGES):
        mask = c_mask[:, None] & (start + t * BS + s < S)[None, :]
        here = base + tl.cast(t * BS, tl.int64) * s_stride
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0).to(ACC) - near[:, None]
        # Only in its last tile can a lane be out of range, so all lanes that count have seen t values before.
        step = tl.where(mask, x - mean, 0.0)
        mean += step / (tl.cast(t, ACC) + 1.0)
        m2 += step * (x - mean)
    left = tl.minimum(S - start, tiles * BS)
    seen = tl.cast(tl.maximum(tl.cdiv(left - s, BS), 0), ACC)[None, :]
    rest = tl.sum(mean * seen, axis=1) / tl.cast(left, ACC)
    away = mean - rest[:, None]
    at = (sample * chunks + chunk) * C + first + c
    tl.store(near_ptr + at, near, mask=c_mask)
    tl.store(rest_ptr + at, rest, mask=c_mask)
    tl.store(m2_ptr + at, tl.sum(m2 + seen * away * away, axis=1), mask=c_mask)


@triton.jit
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
        e = e0 + lane
        keep = e < entries
        chunk = e // D
        at = first + chunk * groups * D + e % D
        count = tl.cast(tl.minimum(S - chunk * chunk_size, chunk_size), ACC)
        mean = (tl.load(part_near_ptr + at, mask=keep, other=0.0) - near) + tl.load(part_rest_ptr + at, mask=keep, other=0.0)
        total += tl.where(keep, count * mean, 0.0)
    size = tl.cast(D, ACC) * S
    rest = tl.sum(total, axis=0) / size
    m2 = tl.zeros([BLOCK], ACC)
    for e0 in range(0, entries, BLOCK):
        e = e0 + lane
        keep = e < entries
        chunk = e // D
        at = first + chunk * groups * D + e % D
        count = tl.cast(tl.minimum(S - chunk * chunk_size, chunk_size), ACC)
        mean = (tl.load(part_near_ptr + at, mask=keep, other=0.0) - near) + tl.load(part_rest_ptr + at, mask=keep, other=0.0)
        away = mean - rest
        m2 += tl.load(part_m2_ptr + at, mask=keep, other=0.0) + tl.where(keep, count * away * away, 0.0)
    tl.store(statistics_ptr + row, near)
    tl.store(statistics_ptr + rows + row, rest)
    tl.store(statistics_ptr + 2 * rows + row, tl.rsqrt(tl.sum(m2, axis=0) / size + EPS))


@triton.jit
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
    slope,
    ACT: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
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
    sample, first, _, base, start, tiles_here, c_stride, s_stride = split_place(C, S, chunks, tiles, CHANNELS_LAST, True, BC, BS)
    c = tl.arange(0, BC)
    s = tl.arange(0, BS)
    c_mask = first + c < C
    inside = c[:, None] * c_stride + s[None, :] * s_stride
    row = sample * groups + (first + c) // (C // groups)
    near = tl.load(statistics_ptr + row, mask=c_mask, other=0.0)[:, None]
    rest = tl.load(statistics_ptr + rows + row, mask=c_mask, other=0.0)[:, None]
    scale = tl.load(statistics_ptr + 2 * rows + row, mask=c_mask, other=0.0)[:, None]
    if HAS_WEIGHT:
        scale *= tl.load(weight_ptr + first + c, mask=c_mask, other=0.0).to(ACC)[:, None]
    if HAS_BIAS:
        bias = tl.load(bias_ptr + first + c, mask=c_mask, other=0.0).to(ACC)[:, None]
    for t in tl.range(0, tiles_here, num_stages=STAGES):
        mask = c_mask[:, None] & (start + t * BS + s < S)[None, :]
        here = base + tl.cast(t * BS, tl.int64) * s_stride
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
        z = ((x - near) - rest) * scale
        if HAS_BIAS:
            z += bias
        tl.store(y_ptr + here + inside, activate(z, slope, ACT).to(y_ptr.dtype.element_ty), mask=mask)
