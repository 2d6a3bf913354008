"""Launch parameters of gated activations.

Eight or sixteen elements to a thread: one or two 16-byte loads of every tensor on their way. ``benchmarks.fused.gpu`` may refine them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from normadvisor.fused.common.launch import Launch, launch, register_launches
from normadvisor.fused.common.rows import block

__all__ = ["TileLaunch", "tile_launch"]

register_launches(
    "gated",
    {
        "forward": Launch(tile=2048, num_warps=4),
        "backward": Launch(tile=2048, num_warps=4),
        # Where a tensor is too small to give every multiprocessor several tiles, or its sizes do not allow wide accesses.
        "small": Launch(tile=1024, num_warps=4),
    },
)
_WIDEST = 16
"""Elements: 16 bytes of eight-bit numbers, and twice what bfloat16 needs."""
_NARROWEST = 128
"""Columns of a tile, where there are so many: several lines of 128 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLaunch:
    """How a matrix is divided into tiles."""

    unit: int
    """Largest power of two up to 16 that divides the length of rows and all their distances."""
    height: int
    """Rows of a tile, a power of two."""
    width: int
    """Columns of a tile, a power of two."""
    strips: int
    """Tiles side by side."""
    tiles: int
    num_warps: int


def tile_launch(
    regime: str, rows: int, columns: int, distances: tuple[int, ...], accumulator: torch.dtype, multiprocessors: int
) -> TileLaunch:
    """Choose tiles.

    Args:
        regime: ``forward`` or ``backward``.
        rows: of the matrix.
        columns: of the matrix.
        distances: of the rows of every tensor, in elements.
        accumulator: dtype in which kernels compute.
        multiprocessors: of the GPU.

    """
    unit = math.gcd(columns, *distances, _WIDEST)
    parameters = launch(f"gated.{regime}")
    # Fewer than 8 elements of two bytes are no 16-byte access: a thread then has an address for each, and registers for fewer elements.
    if rows * columns < 4 * multiprocessors * parameters.tile or unit * 2 < _WIDEST:
        parameters = launch("gated.small")
    tile = max(1, parameters.tile // (2 if accumulator == torch.float64 else 1))
    width = block(columns, largest=tile, smallest=min(tile, _NARROWEST))
    height = min(tile // width, 1 << max(rows - 1, 0).bit_length())
    strips = -(-columns // width)
    tiles = strips * -(-rows // height)
    return TileLaunch(unit=unit, height=height, width=width, strips=strips, tiles=tiles, num_warps=parameters.num_warps)
