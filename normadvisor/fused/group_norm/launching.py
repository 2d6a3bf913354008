"""Launches the kernels of GroupNorm as :mod:`normadvisor.fused.group_norm.plan` decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, gcd
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.common import buffers
from normadvisor.fused.common.launch import launch
from normadvisor.fused.common.memory_format import like, spatial_size
from normadvisor.fused.common.triton_support import multiprocessors, on_device_of
from normadvisor.fused.group_norm.plan import Grouped, Shape, Split, next_power, plan, split

__all__ = ["Norm", "constants_of", "grouped_arguments", "launch_backward", "launch_forward", "shape_of", "split_arguments"]

_PARAMETER_COLUMNS = 16
"""Channels of a program that adds up the gradients of parameters: 64 bytes of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """What is computed."""

    groups: int
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    act: str
    slope: float

    def contiguous(self) -> Norm:
        """Give the same with parameters that have no gaps."""
        return replace(
            self,
            weight=None if self.weight is None else self.weight.contiguous(),
            bias=None if self.bias is None else self.bias.contiguous(),
        )


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
    return (shape.rows, shape.groups, shape.channels // c_unit, shape.positions // s_unit, chosen.chunks, chosen.tiles), tile


def constants_of(norm: Norm, x: Tensor, *, channels_last: bool) -> dict[str, Any]:
    """Give the constants that most kernels take."""
    return {
        "ACT": norm.act,
        # No argument: Triton passes those as float32.
        "SLOPE": norm.slope,
        "CHANNELS_LAST": channels_last,
        "ACC": _accumulator(x.dtype),
    }


def _accumulator(dtype: torch.dtype) -> Any:
    import triton.language as tl  # noqa: PLC0415 (only where Triton is there)

    return tl.float64 if dtype == torch.float64 else tl.float32


def _options(num_warps: int) -> dict[str, Any]:
    # Multiplications and additions are joined, as nvcc does for torch's own kernels; Triton 3.9 does so only when asked.
    return {"num_warps": num_warps, "enable_fp_fusion": True}


def launch_forward(x: Tensor, norm: Norm, y: Tensor, statistics: Tensor, *, channels_last: bool) -> None:
    """Write ``y`` (in the strides of ``x``) and the statistics (3, N * groups) that the forward kernels describe."""
    from normadvisor.fused.group_norm import forward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    if x.numel() == 0:
        statistics.zero_()
        return
    shape = shape_of(x, norm.groups, channels_last=channels_last)
    norm = norm.contiguous()
    constants = constants_of(norm, x, channels_last=channels_last)
    grouped = plan(shape)
    with on_device_of(x):
        if grouped:
            sizes, tile = grouped_arguments(shape, grouped)
            kernels.grouped_forward[(grouped.programs,)](
                x,
                norm.weight,
                norm.bias,
                y,
                statistics,
                *sizes,
                EPS=norm.eps,
                **constants,
                **tile,
                **_options(grouped.num_warps),
            )
            return
        _split_statistics(x, shape, norm.eps, statistics)
        chosen = split(shape, "apply")
        sizes, tile = split_arguments(shape, chosen)
        kernels.split_apply[(chosen.programs,)](
            x, norm.weight, norm.bias, statistics, y, *sizes, **constants, **tile, **_options(chosen.num_warps)
        )


def _split_statistics(x: Tensor, shape: Shape, eps: float, statistics: Tensor) -> None:
    from normadvisor.fused.group_norm import forward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    chosen = split(shape, "statistics")
    sizes, tile = split_arguments(shape, chosen)
    parts = buffers.empty((3, shape.samples, chosen.chunks, shape.channels), statistics.dtype, x.device)
    accumulator = _accumulator(x.dtype)
    kernels.split_statistics[(chosen.programs,)](
        x,
        *parts,
        *sizes[2:],
        CHANNELS_LAST=shape.channels_last,
        EVEN=shape.channels % chosen.c == 0 and shape.positions % chosen.s == 0,
        ACC=accumulator,
        **tile, **_options(chosen.num_warps)
    )
    block, warps = _joining(chosen.chunks * shape.depth)
    counts = (shape.rows, shape.groups, shape.depth, shape.positions, chosen.chunks, chosen.tiles * chosen.s)
    kernels.combine_statistics[(shape.rows,)](*parts, statistics, *counts, EPS=eps, BLOCK=block, ACC=accumulator, **_options(warps))


def _joining(entries: int) -> tuple[int, int]:
    """Partial results that a program joins at a time, and its warps."""
    parameters = launch("group_norm.combine")
    block = max(32, min(next_power(entries), parameters.tile))
    return block, max(1, min(parameters.num_warps, block // 128))


def launch_backward(
    dy: Tensor,
    x: Tensor,
    norm: Norm,
    statistics: Tensor,
    dx: Tensor,
    parameters: tuple[Tensor, Tensor] | None,
    *,
    channels_last: bool,
) -> None:
    """Write ``dx`` (in the strides of ``x``) and, if wanted, the gradients of weight and bias (C)."""
    if x.numel() == 0:
        for gradient in parameters or ():
            gradient.zero_()
        return
    shape = shape_of(x, norm.groups, channels_last=channels_last)
    norm = norm.contiguous()
    grouped = plan(shape, backward=True)
    with on_device_of(x):
        read = (like(dy, x), x, norm.weight, norm.bias, statistics)
        if grouped:
            _grouped_backward(read, norm, shape, grouped, dx, parameters)
        else:
            _split_backward(read, norm, shape, dx, parameters)


Read = tuple[Tensor | None, ...]
"""Gradient of the output, input, weight, bias and statistics."""


def _grouped_backward(read: Read, norm: Norm, shape: Shape, chosen: Grouped, dx: Tensor, parameters: tuple[Tensor, Tensor] | None) -> None:
    from normadvisor.fused.group_norm import backward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    dtype = torch.float64 if dx.dtype == torch.float64 else torch.float32
    sums = buffers.empty((2, shape.samples, 1, shape.channels), dtype, dx.device) if parameters else None
    sizes, tile = grouped_arguments(shape, chosen)
    kernels.grouped_backward[(chosen.programs,)](
        *read,
        dx,
        *((None, None) if sums is None else sums),
        *sizes,
        SUMS=sums is not None,
        **constants_of(norm, dx, channels_last=shape.channels_last),
        **tile,
        **_options(chosen.num_warps),
    )
    if sums is not None:
        _finish(sums, norm, shape, None, parameters)


def _split_backward(read: Read, norm: Norm, shape: Shape, dx: Tensor, parameters: tuple[Tensor, Tensor] | None) -> None:
    from normadvisor.fused.group_norm import backward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    dtype = torch.float64 if dx.dtype == torch.float64 else torch.float32
    constants = constants_of(norm, dx, channels_last=shape.channels_last)
    chosen = split(shape, "sums")
    sizes, tile = split_arguments(shape, chosen)
    sums = buffers.empty((2, shape.samples, chosen.chunks, shape.channels), dtype, dx.device)
    kernels.split_sums[(chosen.programs,)](*read, *sums, *sizes, **constants, **tile, **_options(chosen.num_warps))
    means = buffers.empty((2, shape.rows), dtype, dx.device)
    _finish(sums, norm, shape, means, parameters)
    chosen = split(shape, "gradient")
    sizes, tile = split_arguments(shape, chosen)
    kernels.split_gradient[(chosen.programs,)](*read, *means, dx, *sizes, **constants, **tile, **_options(chosen.num_warps))


def _finish(sums: Tensor, norm: Norm, shape: Shape, means: Tensor | None, parameters: tuple[Tensor, Tensor] | None) -> None:
    """Join sums (2, samples, chunks, channels) to the means of the groups (2, rows), the gradients of the parameters, or both."""
    from normadvisor.fused.group_norm import backward_kernels as kernels  # noqa: PLC0415 (imports Triton)

    chunks = sums.shape[2]
    limits = launch("group_norm.combine")
    block, warps = _joining(chunks * shape.depth)
    together = min(next_power(shape.samples * chunks), max(1, limits.tile // _PARAMETER_COLUMNS))
    rows = shape.rows if means is not None else 0
    kernels.finish_sums[(rows + (ceil(shape.channels / _PARAMETER_COLUMNS) if parameters else 0),)](
        *sums,
        norm.weight,
        *((None, None) if means is None else means),
        *(parameters or (None, None)),
        rows,
        shape.samples,
        shape.groups,
        shape.depth,
        shape.positions,
        chunks,
        HAS_WEIGHT=norm.weight is not None,
        MEANS=means is not None,
        PARAMETERS=parameters is not None,
        BLOCK=block,
        BP=together,
        BC=_PARAMETER_COLUMNS,
        ACC=_accumulator(sums.dtype),
        **_options(max(warps, min(limits.num_warps, together * _PARAMETER_COLUMNS // 128))),
    )
