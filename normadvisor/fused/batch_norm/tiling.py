"""How kernels are cut into tiles and programs: by the layout of the tensor, its dtype, and the size of the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from normadvisor.fused.batch_norm.layout import Layout, layout_of
from normadvisor.fused.common.launch import Launch, launch, register_launches
from normadvisor.fused.common.rows import block
from normadvisor.fused.common.triton_support import multiprocessors

__all__ = ["Tiling", "tiling"]

_ORDERS = {False: "channels_first", True: "channels_last"}
_REDUCTIONS = frozenset({"statistics", "gradients"})
_MOST_SPLITS = 1024
_COMBINED = 4096
"""Partial results that one program of ``combine_*`` takes at a time: all splits of up to 16 channels."""
_COMBINED_CHANNELS = 16
_MOST_STEPS = 4
_NARROWEST = {False: 128, True: 32}
"""Fewest columns of a tile, where the tensor has them: below, a warp's loads fall apart into short pieces."""
_ROW_BYTES = {True: 128, False: 512}
"""Bytes of a row that a tile takes with channels last, in a reduction and in a pass. A reduction needs many rows for each channel, as each
of its programs leaves 8 or 12 bytes of partial results for it; a pass reads 16 bytes of parameters for each channel."""
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
class Tiling:
    """How a kernel goes over a tensor."""

    channels: int
    count: int
    """Entries of one channel."""
    splits: int
    """Programs that share a channel or a block of channels."""
    programs: int
    arguments: Mapping[str, Any]
    """Sizes, constants and options of the kernel."""
    combining_programs: int = 1
    combining: Mapping[str, Any]
    """Sizes, constants and options of the kernel that combines the splits."""


def tiling(kernel: str, x: torch.Tensor) -> Tiling:
    """Cut the work of a kernel on a dense tensor; known from the second time on."""
    layout = layout_of(x)
    size = x.element_size()
    narrow = "" if layout.alignment * size >= _VECTOR_BYTES else ".narrow"
    parameters = launch(f"batch_norm.{kernel}.{_ORDERS[layout.channels_last]}.{size}{narrow}")
    return _cut(kernel, layout, size, parameters, multiprocessors(x.device))


@lru_cache(maxsize=4096)
def _cut(kernel: str, layout: Layout, size: int, parameters: Launch, processors: int) -> Tiling:
    cut = _reduction if kernel in _REDUCTIONS else _pass
    return cut(layout, size, parameters, processors)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _power_of_two(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()


def _blocks(layout: Layout, rows: int, tile: int, size: int, *, reduction: bool) -> tuple[int, int]:
    """Rows and columns of a tile of at most ``tile`` entries of ``size`` bytes."""
    tallest = _power_of_two(rows)
    widest = min(_ROW_BYTES[reduction] // size, tile) if layout.channels_last else min(max(_WIDEST, tile // tallest), tile)
    columns = block(layout.columns, largest=widest, smallest=_NARROWEST[layout.channels_last])
    return min(max(tile // columns, 1), tallest), columns


def _shared(layout: Layout, size: int, parameters: Launch, blocks: tuple[int, int]) -> dict[str, Any]:
    import triton.language as tl  # noqa: PLC0415 (Triton need not be there)

    return {
        "column_groups": layout.columns // layout.alignment,
        "channels": layout.channels,
        "CHANNELS_LAST": layout.channels_last,
        "ALIGNMENT": layout.alignment,
        "BLOCK_ROWS": blocks[0],
        "BLOCK_COLUMNS": blocks[1],
        "WIDE": tl.float64 if size == torch.float64.itemsize else tl.float32,
        "num_warps": parameters.num_warps,
        "num_stages": parameters.num_stages,
        "enable_fp_fusion": True,  # Triton's default, which newer ones warn about where it is not said
    }


def _reduction(layout: Layout, size: int, parameters: Launch, processors: int) -> Tiling:
    """A sum over each channel: with so many programs for each that the GPU is full."""
    rows = layout.rows if layout.channels_last else layout.batch
    blocks = _blocks(layout, rows, parameters.tile, size, reduction=True)
    channel_blocks = _ceil(layout.channels, blocks[1]) if layout.channels_last else layout.channels
    column_tiles = 1 if layout.channels_last else _ceil(layout.spatial, blocks[1])
    tiles = _ceil(rows, blocks[0]) * column_tiles
    # With one tile for each program the partial results would be a twentieth of the tensor; small ones lie in the cache anyway.
    most = tiles if tiles * channel_blocks <= 2 * processors else tiles // 2
    splits = max(1, min(processors * parameters.programs // channel_blocks, most, _MOST_SPLITS))
    combined = min(_COMBINED_CHANNELS, _COMBINED // _power_of_two(splits))
    walk = {"rows": rows, "tiles": tiles, "column_tiles": column_tiles, "channel_blocks": channel_blocks, "splits": splits}
    return Tiling(
        channels=layout.channels,
        count=layout.count,
        splits=splits,
        programs=channel_blocks * splits,
        arguments={**walk, "SPLIT": splits > 1, **_shared(layout, size, parameters, blocks)},
        combining_programs=_ceil(layout.channels, combined),
        combining={
            "channels": layout.channels,
            "splits": splits,
            "BLOCK_SPLITS": _power_of_two(splits),
            "BLOCK_CHANNELS": combined,
            "num_warps": 4,
            "enable_fp_fusion": True,
        },
    )


def _pass(layout: Layout, size: int, parameters: Launch, processors: int) -> Tiling:
    """A pass over all entries. With channels last, a program does several tiles below each other with parameters read once."""
    blocks = _blocks(layout, layout.rows, parameters.tile, size, reduction=False)
    column_tiles = _ceil(layout.columns, blocks[1])
    tiles = _ceil(layout.rows, blocks[0])
    spare = tiles * column_tiles // (processors * parameters.programs)
    steps = min(_MOST_STEPS, _power_of_two(max(spare, 1))) if layout.channels_last else 1
    return Tiling(
        channels=layout.channels,
        count=layout.count,
        splits=1,
        programs=_ceil(tiles, steps) * column_tiles,
        arguments={"rows": layout.rows, "column_tiles": column_tiles, "STEPS": steps, **_shared(layout, size, parameters, blocks)},
        combining={},
    )
