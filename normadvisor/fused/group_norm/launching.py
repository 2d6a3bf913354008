"""Launches the kernels of GroupNorm as :mod:`normadvisor.fused.group_norm.plan` decides."""

from __future__ import annotations

from math import ceil, gcd
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.common import buffers
from normadvisor.fused.common.launch import launch
from normadvisor.fused.common.memory_format import like, spatial_size
from normadvisor.fused.common.triton_support import multiprocessors, on_device_of
from normadvisor.fused.group_norm.plan import Grouped, Shape, Split, next_power, plan, split

__all__ = ["grouped_arguments", "launch_backward", "launch_forward", "shape_of", "split_arguments"]

_PARAMETER_COLUMNS = 16
"""Channels of a program that adds up the gradients of parameters: 64 bytes of float32."""


def shape_of(x: Tensor, groups: int, *, channels_last: bool) -> Shape:
    """Give the sizes that a plan depends on; ``x`` is (N, C, *spatial)."""
    return Shape(
        samples=x.shape[0],
        channels=x.shape[1],
        groups=groups,
        positions=spatial_size(x),
        channels_last=channels_last,
        itemsize=x.element_size(),
        multiprocessors=multiprocessors(x.device),
    )


def grouped_arguments(shape: Shape, chosen: Grouped) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Give the sizes that grouped kernels take, and their tile as constants.

    Sizes come as units and their number: the compiler knows from the unit how far loads are aligned.
    """
    d_unit, s_unit = gcd(shape.depth, 16), gcd(shape.positions, 16)
    tile = {"D_UNIT": d_unit, "S_UNIT": s_unit, "R": chosen.r, "BD": chosen.d, "BS": chosen.s, "LOOP": chosen.loop}
    return (shape.rows, shape.groups, shape.depth // d_unit, shape.positions // s_unit), tile


def split_arguments(shape: Shape, chosen: Split) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Give the sizes that split kernels take, and their tile as constants; sizes as in :func:`grouped_arguments`."""
    c_unit, s_unit = gcd(shape.channels, 16), gcd(shape.positions, 16)
    tile = {"C_UNIT": c_unit, "S_UNIT": s_unit, "BC": chosen.c, "BS": chosen.s, "STAGES": chosen.num_stages}
    return (shape.channels // c_unit, shape.positions // s_unit, chosen.chunks, chosen.tiles), tile


def _options(num_warps: int) -> dict[str, Any]:
    # Multiplications and additions are joined, as nvcc does for torch's own kernels; Triton 3.9 does so only when asked.
    return {"num_warps": num_warps, "enable_fp_fusion": True}


def _constants(x: Tensor, weight: Tensor | None, bias: Tensor | None, act: str, *, channels_last: bool) -> dict[str, Any]:
    return {
        "ACT": act,
        "HAS_WEIGHT": weight is not None,
        "HAS_BIAS": bias is not None,
        "CHANNELS_LAST": channels_last,
        "ACC": _accumulator(x.dtype),
    }


def _accumulator(dtype: torch.dtype) -> Any:
    import triton.language as tl  # noqa: PLC0415 (only where Triton is there)

    return tl.float64 if dtype == torch.float64 else tl.float32


def launch_forward(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    *,
    eps: float,
    act: str,
    slope: float,
    channels_last: bool,
) -> None:
    """Write ``y`` (in the strides of ``x``) and the statistics (N * groups)."""
    from normadvisor.fused.group_norm import forward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    if x.numel() == 0:
        mean.zero_()
        rstd.zero_()
        return
    shape = shape_of(x, groups, channels_last=channels_last)
    weight, bias = (None if tensor is None else tensor.contiguous() for tensor in (weight, bias))
    constants = _constants(x, weight, bias, act, channels_last=channels_last)
    grouped = plan(shape)
    with on_device_of(x):
        if grouped:
            sizes, tile = grouped_arguments(shape, grouped)
            kernels.grouped_forward[(grouped.programs,)](
                x, weight, bias, y, mean, rstd, *sizes, slope, EPS=eps, **constants, **tile, **_options(grouped.num_warps)
            )
            return
        _split_statistics(x, shape, mean, rstd, eps)
        chosen = split(shape, "apply")
        sizes, tile = split_arguments(shape, chosen)
        kernels.split_apply[(chosen.programs,)](
            x, weight, bias, mean, rstd, y, groups, *sizes, slope, **constants, **tile, **_options(chosen.num_warps)
        )


def _split_statistics(x: Tensor, shape: Shape, mean: Tensor, rstd: Tensor, eps: float) -> None:
    from normadvisor.fused.group_norm import forward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    chosen = split(shape, "statistics")
    sizes, tile = split_arguments(shape, chosen)
    parts = buffers.empty((2, shape.samples, chosen.chunks, shape.channels), mean.dtype, x.device)
    accumulator = _accumulator(x.dtype)
    kernels.split_statistics[(chosen.programs,)](
        x, parts[0], parts[1], *sizes, CHANNELS_LAST=shape.channels_last, ACC=accumulator, **tile, **_options(chosen.num_warps)
    )
    block, warps = _joining(chosen.chunks * shape.depth)
    kernels.combine_statistics[(shape.rows,)](
        parts[0],
        parts[1],
        mean,
        rstd,
        shape.groups,
        shape.depth,
        shape.positions,
        chosen.chunks,
        chosen.tiles * chosen.s,
        EPS=eps,
        BLOCK=block,
        ACC=accumulator,
        **_options(warps),
    )


def _joining(entries: int) -> tuple[int, int]:
    """Partial results that a program joins at a time, and its warps."""
    parameters = launch("group_norm.combine")
    block = max(32, min(next_power(entries), parameters.tile))
    return block, max(1, min(parameters.num_warps, block // 128))


def launch_backward(
    dy: Tensor,
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    dx: Tensor,
    parameters: tuple[Tensor, Tensor] | None,
    *,
    act: str,
    slope: float,
    channels_last: bool,
) -> None:
    """Write ``dx`` (in the strides of ``x``) and, if wanted, the gradients of weight and bias (C)."""
    from normadvisor.fused.group_norm import backward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    if x.numel() == 0:
        for gradient in parameters or ():
            gradient.zero_()
        return
    dy = like(dy, x)
    shape = shape_of(x, groups, channels_last=channels_last)
    weight, bias = (None if tensor is None else tensor.contiguous() for tensor in (weight, bias))
    constants = _constants(x, weight, bias, act, channels_last=channels_last)
    read = (dy, x, weight, bias, mean, rstd)
    grouped = plan(shape, backward=True)
    with on_device_of(x):
        if grouped:
            sums = buffers.empty((2, shape.samples, 1, shape.channels), mean.dtype, x.device) if parameters else None
            sizes, tile = grouped_arguments(shape, grouped)
            outputs = (dx, *(sums if sums is not None else (None, None)))
            kernels.grouped_backward[(grouped.programs,)](
                *read, *outputs, *sizes, slope, SUMS=sums is not None, **constants, **tile, **_options(grouped.num_warps)
            )
            if sums is not None:
                _finish(sums, weight, None, parameters, shape)
            return
        chosen = split(shape, "sums")
        sizes, tile = split_arguments(shape, chosen)
        sums = buffers.empty((2, shape.samples, chosen.chunks, shape.channels), mean.dtype, x.device)
        kernels.split_sums[(chosen.programs,)](
            *read, sums[0], sums[1], groups, *sizes, slope, **constants, **tile, **_options(chosen.num_warps)
        )
        means = buffers.empty((2, shape.rows), mean.dtype, x.device)
        _finish(sums, weight, means, parameters, shape)
        chosen = split(shape, "gradient")
        sizes, tile = split_arguments(shape, chosen)
        kernels.split_gradient[(chosen.programs,)](
            *read, means[0], means[1], dx, groups, *sizes, slope, **constants, **tile, **_options(chosen.num_warps)
        )


def _finish(sums: Tensor, weight: Tensor | None, means: Tensor | None, parameters: tuple[Tensor, Tensor] | None, shape: Shape) -> None:
    """Join sums (2, samples, chunks, channels) to the means of the groups (2, rows), the gradients of the parameters, or both."""
    from normadvisor.fused.group_norm import backward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    chunks = sums.shape[2]
    block, warps = _joining(chunks * shape.depth)
    together = max(1, min(next_power(shape.samples * chunks), launch("group_norm.combine").tile // _PARAMETER_COLUMNS))
    rows = shape.rows if means is not None else 0
    programs = rows + (ceil(shape.channels / _PARAMETER_COLUMNS) if parameters else 0)
    kernels.finish_sums[(programs,)](
        sums[0],
        sums[1],
        weight,
        *(means if means is not None else (None, None)),
        *(parameters or (None, None)),
        rows,
        shape.samples,
        shape.groups,
        shape.depth,
        shape.positions,
        chunks,
        HAS_WEIGHT=weight is not None,
        MEANS=means is not None,
        PARAMETERS=parameters is not None,
        BLOCK=block,
        BP=together,
        BC=_PARAMETER_COLUMNS,
        ACC=_accumulator(sums.dtype),
        **_options(max(warps, min(launch("group_norm.combine").num_warps, max(1, together * _PARAMETER_COLUMNS // 128)))),
    )
