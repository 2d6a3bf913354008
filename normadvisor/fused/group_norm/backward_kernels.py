"""Kernels of the gradients of GroupNorm + activation.

With n = (x - mean) * rstd, z = n * weight + bias, y = act(z) and the gradient e = dy * act'(z) of z:

- d bias = sum of e, d weight = sum of e * n, over samples and positions;
- dx = rstd * (e * weight - mean(e * weight) - n * mean(e * weight * n)), means over the group (Wu and He 2018, as for LayerNorm).

So the sums of e and of e * n over the positions of every channel of every sample are all that is needed; z is computed again from x. The
grouped and the split way are those of the forward kernels. Sums have a fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from normadvisor.fused.common.triton_activations import activation_derivative
from normadvisor.fused.group_norm.forward_kernels import (
    channel_parameters,
    group_statistics,
    grouped_channels,
    grouped_place,
    grouped_tile,
    scaled,
    split_place,
    split_tile,
)

__all__ = ["finish_sums", "grouped_backward", "split_gradient", "split_sums"]


@triton.jit
def _normalized(x, near, rest, rstd):
    return ((x - near) - rest) * rstd


@triton.jit
def _activated(e, n, weight, bias, HAS_BIAS: tl.constexpr, SLOPE: tl.constexpr, ACT: tl.constexpr, ACC: tl.constexpr):
    """Gradient of what is activated, from that of the output."""
    return e * activation_derivative(scaled(n, weight, bias, HAS_BIAS), tl.full((), SLOPE, ACC), ACT)


@triton.jit
def _store_sums(sum_ptr, dot_ptr, row, d0, d, D, sums, dots, mask):
    at = row[:, None] * D + d0 + d[None, :]
    tl.store(sum_ptr + at, sums, mask=mask)
    tl.store(dot_ptr + at, dots, mask=mask)


@triton.jit(do_not_specialize=["rows"])
def grouped_backward(
    dy_ptr,
    x_ptr,
    weight_ptr,
    bias_ptr,
    statistics_ptr,
    dx_ptr,
    sum_ptr,
    dot_ptr,
    rows,
    groups,
    d_units,
    s_units,
    ACT: tl.constexpr,
    SLOPE: tl.constexpr,
    SUMS: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    D_UNIT: tl.constexpr,
    S_UNIT: tl.constexpr,
    R: tl.constexpr,
    BD: tl.constexpr,
    BS: tl.constexpr,
    LOOP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Give the gradient of the input for ``R`` groups, and with ``SUMS`` the sums of e and e * n of their channels: (samples, channels)."""
    D = d_units * D_UNIT
    S = s_units * S_UNIT
    HAS_BIAS: tl.constexpr = bias_ptr is not None
    row, keep, group, base, r_stride, d_stride, s_stride = grouped_place(rows, groups, D, S, CHANNELS_LAST, R)
    d = tl.arange(0, BD)
    s = tl.arange(0, BS)
    inside = tl.arange(0, R)[:, None, None] * r_stride + d[None, :, None] * d_stride + s[None, None, :] * s_stride
    size = tl.cast(D, ACC) * S
    near, rest, rstd = group_statistics(statistics_ptr, rows, row, keep)
    near, rest, rstd = near[:, None, None], rest[:, None, None], rstd[:, None, None]
    if LOOP:
        c1 = tl.zeros([R], ACC)
        c2 = tl.zeros([R], ACC)
        for d0 in range(0, D, BD):
            channel, d_mask = grouped_channels(group, keep, d0, d, D)
            weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, d_mask, ACC)
            sums = tl.zeros([R, BD], ACC)
            dots = tl.zeros([R, BD], ACC)
            for s0 in range(0, S, BS):
                start, mask = grouped_tile(base, d_mask, d0, s0, s, S, d_stride, s_stride)
                n = _normalized(tl.load(x_ptr + start + inside, mask=mask, other=0.0).to(ACC), near, rest, rstd)
                e = tl.load(dy_ptr + start + inside, mask=mask, other=0.0).to(ACC)
                e = tl.where(mask, _activated(e, n, weight[:, :, None], bias[:, :, None], HAS_BIAS, SLOPE, ACT, ACC), 0.0)
                sums += tl.sum(e, axis=2)
                dots += tl.sum(e * n, axis=2)
            if SUMS:
                _store_sums(sum_ptr, dot_ptr, row, d0, d, D, sums, dots, d_mask)
            c1 += tl.sum(sums * weight, axis=1)
            c2 += tl.sum(dots * weight, axis=1)
        c1 /= size
        c2 /= size
        d_tiles = tl.cdiv(D, BD)
        s_tiles = tl.cdiv(S, BS)
        for i in range(d_tiles):
            d0 = (d_tiles - 1 - i) * BD
            channel, d_mask = grouped_channels(group, keep, d0, d, D)
            weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, d_mask, ACC)
            for j in range(s_tiles):
                start, mask = grouped_tile(base, d_mask, d0, (s_tiles - 1 - j) * BS, s, S, d_stride, s_stride)
                x = tl.load(x_ptr + start + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
                e = tl.load(dy_ptr + start + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
                n = _normalized(x, near, rest, rstd)
                e = _activated(e, n, weight[:, :, None], bias[:, :, None], HAS_BIAS, SLOPE, ACT, ACC) * weight[:, :, None]
                dx = rstd * (e - c1[:, None, None] - n * c2[:, None, None])
                tl.store(dx_ptr + start + inside, dx.to(dx_ptr.dtype.element_ty), mask=mask)
    else:
        channel, d_mask = grouped_channels(group, keep, 0, d, D)
        weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, d_mask, ACC)
        mask = d_mask[:, :, None] & (s < S)[None, None, :]
        n = _normalized(tl.load(x_ptr + base + inside, mask=mask, other=0.0).to(ACC), near, rest, rstd)
        e = tl.load(dy_ptr + base + inside, mask=mask, other=0.0).to(ACC)
        e = tl.where(mask, _activated(e, n, weight[:, :, None], bias[:, :, None], HAS_BIAS, SLOPE, ACT, ACC), 0.0)
        sums = tl.sum(e, axis=2)
        dots = tl.sum(e * n, axis=2)
        if SUMS:
            _store_sums(sum_ptr, dot_ptr, row, 0, d, D, sums, dots, d_mask)
        c1 = tl.sum(sums * weight, axis=1) / size
        c2 = tl.sum(dots * weight, axis=1) / size
        dx = rstd * (e * weight[:, :, None] - c1[:, None, None] - n * c2[:, None, None])
        tl.store(dx_ptr + base + inside, dx.to(dx_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows", "chunks"])
def split_sums(
    dy_ptr,
    x_ptr,
    weight_ptr,
    bias_ptr,
    statistics_ptr,
    sum_ptr,
    dot_ptr,
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
    """Sums of e and e * n of ``BC`` channels over ``tiles * BS`` positions; out: (samples, chunks, channels)."""
    C = c_units * C_UNIT
    S = s_units * S_UNIT
    sample, channel, c_mask, chunk, start, tiles_here, base, inside, s_stride = split_place(
        C, S, chunks, tiles, CHANNELS_LAST, False, BC, BS
    )
    near, rest, rstd = group_statistics(statistics_ptr, rows, sample * groups + channel // (C // groups), c_mask)
    weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, c_mask, ACC)
    sums = tl.zeros([BC, BS], ACC)
    dots = tl.zeros([BC, BS], ACC)
    for t in tl.range(0, tiles_here, num_stages=STAGES):
        here, mask = split_tile(t, base, start, c_mask, S, s_stride, BS)
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0).to(ACC)
        e = tl.load(dy_ptr + here + inside, mask=mask, other=0.0).to(ACC)
        n = _normalized(x, near[:, None], rest[:, None], rstd[:, None])
        e = tl.where(mask, _activated(e, n, weight[:, None], bias[:, None], bias_ptr is not None, SLOPE, ACT, ACC), 0.0)
        sums += e
        dots += e * n
    at = (sample * chunks + chunk) * C + channel
    tl.store(sum_ptr + at, tl.sum(sums, axis=1), mask=c_mask)
    tl.store(dot_ptr + at, tl.sum(dots, axis=1), mask=c_mask)


@triton.jit(do_not_specialize=["rows", "samples", "S", "chunks"])
def finish_sums(
    sum_ptr,
    dot_ptr,
    weight_ptr,
    c1_ptr,
    c2_ptr,
    dweight_ptr,
    dbias_ptr,
    rows,
    samples,
    groups,
    D,
    S,
    chunks,
    HAS_WEIGHT: tl.constexpr,
    MEANS: tl.constexpr,
    PARAMETERS: tl.constexpr,
    BLOCK: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
    ACC: tl.constexpr,
):
    """Join sums (samples, chunks, channels).

    With ``MEANS`` the first ``rows`` programs give mean(e * weight) and mean(e * weight * n) of a group each; with ``PARAMETERS`` those
    after them give the gradients of weight and bias of ``BC`` channels.
    """
    program = tl.program_id(0)
    C = groups * D
    if MEANS:
        if program < rows:
            sample = (program // groups).to(tl.int64)
            group = program % groups
            entries = chunks * D
            lane = tl.arange(0, BLOCK)
            c1 = tl.zeros([BLOCK], ACC)
            c2 = tl.zeros([BLOCK], ACC)
            for e0 in range(0, entries, BLOCK):
                entry = e0 + lane
                keep = entry < entries
                channel = group * D + entry % D
                at = (sample * chunks + entry // D) * C + channel
                sums = tl.load(sum_ptr + at, mask=keep, other=0.0)
                dots = tl.load(dot_ptr + at, mask=keep, other=0.0)
                if HAS_WEIGHT:
                    weight = tl.load(weight_ptr + channel, mask=keep, other=0.0).to(ACC)
                    sums *= weight
                    dots *= weight
                c1 += sums
                c2 += dots
            size = tl.cast(D, ACC) * S
            tl.store(c1_ptr + program, tl.sum(c1, axis=0) / size)
            tl.store(c2_ptr + program, tl.sum(c2, axis=0) / size)
        program -= rows
    if PARAMETERS:  # noqa: SIM102 (known when compiling, what follows is not)
        if program >= 0:
            c = program * BC + tl.arange(0, BC)
            c_mask = c < C
            part = tl.arange(0, BP)
            parts = samples * chunks
            dbias = tl.zeros([BP, BC], ACC)
            dweight = tl.zeros([BP, BC], ACC)
            for p0 in range(0, parts, BP):
                mask = (p0 + part < parts)[:, None] & c_mask[None, :]
                at = (p0 + part).to(tl.int64)[:, None] * C + c[None, :]
                dbias += tl.load(sum_ptr + at, mask=mask, other=0.0)
                dweight += tl.load(dot_ptr + at, mask=mask, other=0.0)
            tl.store(dbias_ptr + c, tl.sum(dbias, axis=0).to(dbias_ptr.dtype.element_ty), mask=c_mask)
            tl.store(dweight_ptr + c, tl.sum(dweight, axis=0).to(dweight_ptr.dtype.element_ty), mask=c_mask)


@triton.jit(do_not_specialize=["rows", "chunks"])
def split_gradient(
    dy_ptr,
    x_ptr,
    weight_ptr,
    bias_ptr,
    statistics_ptr,
    c1_ptr,
    c2_ptr,
    dx_ptr,
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
    """Gradient of the input at ``BC`` channels and ``tiles * BS`` positions."""
    C = c_units * C_UNIT
    S = s_units * S_UNIT
    sample, channel, c_mask, _, start, tiles_here, base, inside, s_stride = split_place(C, S, chunks, tiles, CHANNELS_LAST, True, BC, BS)
    row = sample * groups + channel // (C // groups)
    near, rest, rstd = group_statistics(statistics_ptr, rows, row, c_mask)
    weight, bias = channel_parameters(weight_ptr, bias_ptr, channel, c_mask, ACC)
    c1 = tl.load(c1_ptr + row, mask=c_mask, other=0.0)[:, None]
    c2 = tl.load(c2_ptr + row, mask=c_mask, other=0.0)[:, None]
    for t in tl.range(0, tiles_here, num_stages=STAGES):
        here, mask = split_tile(t, base, start, c_mask, S, s_stride, BS)
        x = tl.load(x_ptr + here + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
        e = tl.load(dy_ptr + here + inside, mask=mask, other=0.0, eviction_policy="evict_first").to(ACC)
        n = _normalized(x, near[:, None], rest[:, None], rstd[:, None])
        e = _activated(e, n, weight[:, None], bias[:, None], bias_ptr is not None, SLOPE, ACT, ACC) * weight[:, None]
        tl.store(dx_ptr + here + inside, (rstd[:, None] * (e - c1 - n * c2)).to(dx_ptr.dtype.element_ty), mask=mask)
