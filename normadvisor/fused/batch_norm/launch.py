"""Launches the kernels: how large tiles are, and how many programs share a channel."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.batch_norm.layout import Layout, block, layout_of
from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.launch import Launch, launch, register_launches
from normadvisor.fused.common.triton_support import multiprocessors, on_device_of

__all__ = ["Sources", "apply", "input_gradient", "parameter_gradients", "statistics"]

_ORDERS = {False: "channels_first", True: "channels_last"}
_MOST_SPLITS = 256
"""What one program of ``combine_*`` takes at a time."""
_COMBINED_CHANNELS = 16
_MOST_STEPS = 4
_NARROWEST = {False: 128, True: 32}
"""Fewest columns of a tile, where the tensor has them: below, a warp's loads fall apart into short pieces."""
_ROW_BYTES = 512
"""Bytes of a row that a tile takes with channels last: more leave too few rows for the sums of each channel."""
_WIDEST = 1024
_VECTOR_BYTES = 16
"""The widest load of a thread."""

_BYTES = {"statistics": 8192, "apply": 8192, "gradients": 4096, "input_gradient": 4096}
"""Bytes of one tensor that a program holds at a time: with four warps two to four loads of 16 bytes for each thread, without spilling."""
_NARROW = 1024
"""Entries instead, where rows are not aligned to 16 bytes: a thread then holds entries of several rows, and their parameters."""


def _table() -> dict[str, Launch]:
    table = {}
    for kernel, held in _BYTES.items():
        for order in _ORDERS.values():
            for size in (2, 4, 8):
                table[f"{kernel}.{order}.{size}"] = Launch(tile=held // size, num_warps=4, programs=8)
                table[f"{kernel}.{order}.{size}.narrow"] = Launch(tile=min(_NARROW, held // size), num_warps=4, programs=8)
    return table


register_launches("batch_norm", _table())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiling:
    """How a kernel walks over a tensor."""

    block_rows: int
    block_columns: int
    column_tiles: int
    tiles: int
    """Tiles of one channel (channels first) or of one block of channels (channels last)."""
    channel_blocks: int
    splits: int
    """Programs that share a channel or a block of channels."""
    parameters: Launch

    @property
    def options(self) -> dict[str, int | bool]:
        """Options of Triton; the fusion of multiplications and additions is its default, and it wants it said."""
        return {"num_warps": self.parameters.num_warps, "num_stages": self.parameters.num_stages, "enable_fp_fusion": True}


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _power_of_two(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()


def _blocks(layout: Layout, rows: int, tile: int, size: int) -> tuple[int, int]:
    """Rows and columns of a tile of at most ``tile`` entries of ``size`` bytes."""
    tallest = _power_of_two(rows)
    widest = min(_ROW_BYTES // size, tile) if layout.channels_last else min(max(_WIDEST, tile // tallest), tile)
    columns = block(layout.columns, largest=widest, smallest=_NARROWEST[layout.channels_last])
    return min(max(tile // columns, 1), tallest), columns


def _wide(dtype: torch.dtype) -> Any:
    import triton.language as tl  # noqa: PLC0415 (Triton need not be there)

    return tl.float64 if dtype == torch.float64 else tl.float32


def _constants(x: Tensor, layout: Layout, tiling: _Tiling) -> dict[str, Any]:
    return {
        "CHANNELS_LAST": layout.channels_last,
        "ALIGNMENT": layout.alignment,
        "BLOCK_ROWS": tiling.block_rows,
        "BLOCK_COLUMNS": tiling.block_columns,
        "WIDE": _wide(x.dtype),
    }


def _epilogue(epilogue: Epilogue) -> dict[str, Any]:
    return {"EPS": epilogue.eps, "SLOPE": epilogue.slope, "ACT": epilogue.act}


def _parameters(kernel: str, x: Tensor, layout: Layout) -> Launch:
    size = x.element_size()
    narrow = "" if layout.alignment * size >= _VECTOR_BYTES else ".narrow"
    return launch(f"batch_norm.{kernel}.{_ORDERS[layout.channels_last]}.{size}{narrow}")


def _reduction(kernel: str, x: Tensor, layout: Layout) -> _Tiling:
    """Tiling of a sum over each channel: so many programs for each that the GPU is full."""
    parameters = _parameters(kernel, x, layout)
    rows = layout.rows if layout.channels_last else layout.batch
    block_rows, block_columns = _blocks(layout, rows, parameters.tile, x.element_size())
    channel_blocks = _ceil(layout.channels, block_columns) if layout.channels_last else layout.channels
    column_tiles = 1 if layout.channels_last else _ceil(layout.spatial, block_columns)
    tiles = _ceil(rows, block_rows) * column_tiles
    wanted = multiprocessors(x.device) * parameters.programs // channel_blocks
    return _Tiling(
        block_rows=block_rows,
        block_columns=block_columns,
        column_tiles=column_tiles,
        tiles=tiles,
        channel_blocks=channel_blocks,
        splits=max(1, min(wanted, tiles, _MOST_SPLITS)),
        parameters=parameters,
    )


def _pass(kernel: str, x: Tensor, layout: Layout) -> tuple[_Tiling, int, int]:
    """Tiling of a pass over all entries, the tiles below each other that one program does, and the number of programs.

    With channels last a program that does several tiles reads the parameters of its channels once for all of them.
    """
    parameters = _parameters(kernel, x, layout)
    block_rows, block_columns = _blocks(layout, layout.rows, parameters.tile, x.element_size())
    column_tiles = _ceil(layout.columns, block_columns)
    tiles = _ceil(layout.rows, block_rows)
    spare = tiles * column_tiles // (multiprocessors(x.device) * parameters.programs)
    steps = min(_MOST_STEPS, _power_of_two(max(spare, 1))) if layout.channels_last else 1
    tiling = _Tiling(
        block_rows=block_rows,
        block_columns=block_columns,
        column_tiles=column_tiles,
        tiles=tiles,
        channel_blocks=1,
        splits=1,
        parameters=parameters,
    )
    return tiling, steps, _ceil(tiles, steps) * column_tiles


def _walk(layout: Layout, rows: int, tiling: _Tiling) -> dict[str, int]:
    return {
        "rows": rows,
        "column_groups": layout.columns // layout.alignment,
        "channels": layout.channels,
        "tiles": tiling.tiles,
        "column_tiles": tiling.column_tiles,
        "channel_blocks": tiling.channel_blocks,
        "splits": tiling.splits,
    }


def _combine(kernel: Any, tiling: _Tiling, layout: Layout, arguments: dict[str, Any]) -> None:
    kernel[_ceil(layout.channels, _COMBINED_CHANNELS),](
        **arguments,
        channels=layout.channels,
        splits=tiling.splits,
        BLOCK_SPLITS=_power_of_two(tiling.splits),
        BLOCK_CHANNELS=_COMBINED_CHANNELS,
        num_warps=4,
        enable_fp_fusion=True,
    )


def statistics(x: Tensor, kept: Statistics) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of a dense tensor, in float32 (float64 for float64); moves the running statistics, if any."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    layout = layout_of(x)
    tiling = _reduction("statistics", x, layout)
    wide = promoted(x)
    mean, var = (buffers.empty((layout.channels,), wide, x.device) for _ in range(2))
    partial = buffers.empty((3, tiling.splits, layout.channels), wide, x.device) if tiling.splits > 1 else None
    momentum = 0.0 if kept.momentum is None else kept.momentum
    rounded = ctypes.c_float(momentum).value
    results = {
        "partial_ptr": partial,
        "mean_ptr": mean,
        "var_ptr": var,
        "running_mean_ptr": kept.running_mean,
        "running_var_ptr": kept.running_var,
        "batches_ptr": kept.batches,
        "momentum": rounded,
        "momentum_rest": momentum - rounded,
    }
    with on_device_of(x):
        kernels.statistics_kernel[tiling.channel_blocks * tiling.splits,](
            x,
            **results,
            **_walk(layout, layout.rows if layout.channels_last else layout.batch, tiling),
            **_constants(x, layout, tiling),
            SPLIT=partial is not None,
            **tiling.options,
        )
        if partial is not None:
            _combine(kernels.combine_statistics_kernel, tiling, layout, results)
    return mean, var


def apply(
    x: Tensor, residual: Tensor | None, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, epilogue: Epilogue
) -> Tensor:
    """Normalize a dense tensor, add the residual (dense in the same order), activate."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    layout = layout_of(x)
    tiling, steps, programs = _pass("apply", x, layout)
    y = buffers.empty_like(x)
    with on_device_of(x):
        kernels.apply_kernel[programs,](
            x,
            residual,
            y,
            mean,
            var,
            weight,
            bias,
            layout.rows,
            layout.columns // layout.alignment,
            layout.channels,
            tiling.column_tiles,
            STEPS=steps,
            **_constants(x, layout, tiling),
            **_epilogue(epilogue),
            **tiling.options,
        )
    return y


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What both kernels of the backward pass read; tensors like x are dense, in one order."""

    x: Tensor
    residual: Tensor | None
    dy: Tensor
    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epilogue: Epilogue

    def activated(self, dz: Tensor) -> Sources:
        """The same behind the activation, with the gradient of what is activated in the place of dy."""
        return replace(self, residual=None, dy=dz, epilogue=replace(self.epilogue, act="none"))

    @property
    def pointers(self) -> dict[str, Tensor | None]:
        """As arguments of a kernel."""
        return {
            "x_ptr": self.x,
            "residual_ptr": self.residual,
            "dy_ptr": self.dy,
            "mean_ptr": self.mean,
            "var_ptr": self.var,
            "weight_ptr": self.weight,
            "bias_ptr": self.bias,
        }


def parameter_gradients(
    sources: Sources, *, sums: Tensor | None, dweight: Tensor | None, dbias: Tensor | None, dz: Tensor | None, dx: Tensor | None
) -> None:
    """Sum the gradients over each channel, into whichever of these is given.

    Args:
        sources: what is read.
        sums: (2, C), float32 or float64: the gradients of bias and weight, for :func:`input_gradient`.
        dweight: (C,), of any dtype.
        dbias: (C,), of any dtype.
        dz: the gradient of what is activated, like x.
        dx: the gradient of x with constant statistics, like x.

    """
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    x = sources.x
    layout = layout_of(x)
    tiling = _reduction("gradients", x, layout)
    partial = buffers.empty((2, tiling.splits, layout.channels), promoted(x), x.device) if tiling.splits > 1 else None
    results = {"partial_ptr": partial, "sums_ptr": sums, "dweight_ptr": dweight, "dbias_ptr": dbias}
    with on_device_of(x):
        kernels.gradients_kernel[tiling.channel_blocks * tiling.splits,](
            **sources.pointers,
            **results,
            dz_ptr=dz,
            dx_ptr=dx,
            **_walk(layout, layout.rows if layout.channels_last else layout.batch, tiling),
            **_constants(x, layout, tiling),
            **_epilogue(sources.epilogue),
            SPLIT=partial is not None,
            **tiling.options,
        )
        if partial is not None:
            _combine(kernels.combine_gradients_kernel, tiling, layout, results)


def input_gradient(sources: Sources, *, sums: Tensor | None, dz: Tensor | None, dx: Tensor) -> None:
    """Write the gradient of x, through the statistics where ``sums`` of :func:`parameter_gradients` are given; and dz, if asked for."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    x = sources.x
    layout = layout_of(x)
    tiling, steps, programs = _pass("input_gradient", x, layout)
    with on_device_of(x):
        kernels.input_gradient_kernel[programs,](
            **sources.pointers,
            sums_ptr=sums,
            dz_ptr=dz,
            dx_ptr=dx,
            rows=layout.rows,
            column_groups=layout.columns // layout.alignment,
            channels=layout.channels,
            column_tiles=tiling.column_tiles,
            count=layout.count,
            STEPS=steps,
            **_constants(x, layout, tiling),
            **_epilogue(sources.epilogue),
            **tiling.options,
        )
