"""Launch parameters of add + norm by the length of rows.

Chosen by counting: 16 to 32 elements to a thread, so that each has at least two 16-byte loads of every tensor on their way; no spilled
registers (held by tests that compile ahead of time); in backward as many programs as stay resident, and no more, because each leaves
partial sums of the parameters' gradients behind. ``benchmarks.fused.gpu`` may refine them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from normadvisor.fused.common.launch import Launch, launch, register_launches

__all__ = ["RowLaunch", "backward_launch", "forward_launch", "partial_programs"]

_FORWARD = {
    "forward_1024": Launch(tile=2048, num_warps=4, limit=1024),
    "forward_2048": Launch(tile=2048, num_warps=4, limit=2048),
    "forward_4096": Launch(tile=4096, num_warps=8, limit=4096),
    "forward_8192": Launch(tile=8192, num_warps=8, limit=8192),
    "forward_16384": Launch(tile=16384, num_warps=16, limit=16384),
    "forward_32768": Launch(tile=32768, num_warps=32, limit=32768),
}
_BACKWARD = {
    "backward_256": Launch(tile=1024, num_warps=4, num_stages=2, programs=8, limit=256),
    "backward_1024": Launch(tile=1024, num_warps=4, num_stages=2, programs=4, limit=1024),
    "backward_2048": Launch(tile=2048, num_warps=4, num_stages=2, programs=4, limit=2048),
    "backward_4096": Launch(tile=4096, num_warps=8, num_stages=2, programs=2, limit=4096),
    "backward_8192": Launch(tile=8192, num_warps=16, num_stages=2, programs=1, limit=8192),
}
_BACKWARD_WITHOUT_SUMS = {"backward_16384": Launch(tile=16384, num_warps=16, limit=16384)}
register_launches(
    "add_norm",
    {
        # `limit` is the length of a row; float64 counts twice.
        **_FORWARD,
        "forward_long": Launch(tile=8192, num_warps=16),
        **_BACKWARD,
        **_BACKWARD_WITHOUT_SUMS,
        "backward_long": Launch(tile=8192, num_warps=16),
        "parameters": Launch(tile=2048, num_warps=4, num_stages=2, programs=4),
        "sum_partials": Launch(tile=4096, num_warps=8),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLaunch:
    """How rows of one length are gone through."""

    launch: Launch
    whole: bool
    """Whether a row is held in registers as a whole."""
    sums: bool = False
    """Whether the sums for the parameters are, too."""
    block: int
    """Columns of a block, a power of two: of the whole row or of a part."""
    height: int = 1
    """Rows of a tile, a power of two."""


def forward_launch(rows: int, columns: int, accumulator: torch.dtype, multiprocessors: int) -> RowLaunch:
    """Choose how forward goes through ``rows`` rows of ``columns`` elements."""
    whole = _whole_rows(_FORWARD, rows, columns, accumulator, multiprocessors)
    return whole or _in_parts("forward_long", columns, accumulator)


def backward_launch(rows: int, columns: int, dtypes: tuple[torch.dtype, torch.dtype], multiprocessors: int, *, sums: bool) -> RowLaunch:
    """Choose how backward goes through ``rows`` rows of ``columns`` elements.

    Args:
        rows: number of rows.
        columns: length of a row.
        dtypes: that of the sum, and that in which kernels compute.
        multiprocessors: of the GPU.
        sums: whether gradients of parameters are wanted.

    """
    total, accumulator = dtypes
    whole = _whole_rows(_BACKWARD, rows, columns, accumulator, multiprocessors)
    if whole:
        return replace(whole, sums=sums)
    # Loaded values wait in registers as they are: two of half precision take one.
    whole = _whole_rows(_BACKWARD_WITHOUT_SUMS, rows, columns, accumulator, multiprocessors) if total.itemsize == 2 else None
    return whole or _in_parts("backward_long", columns, accumulator)


def _whole_rows(
    regimes: Mapping[str, Launch], rows: int, columns: int, accumulator: torch.dtype, multiprocessors: int
) -> RowLaunch | None:
    for name in regimes:
        parameters = launch(f"add_norm.{name}")
        if columns * _width(accumulator) > parameters.limit:
            continue
        block = _power_of_two(columns)
        height = max(1, parameters.tile // (block * _width(accumulator)))
        # Fewer rows to a tile where multiprocessors would be without work.
        while height > 1 and -(-rows // height) < 2 * multiprocessors:
            height //= 2
        return RowLaunch(launch=parameters, whole=True, block=block, height=height)
    return None


def _in_parts(name: str, columns: int, accumulator: torch.dtype) -> RowLaunch:
    parameters = launch(f"add_norm.{name}")
    # What is kept for every lane, and 64-bit addresses: float64 gets a quarter.
    return RowLaunch(launch=parameters, whole=False, block=min(parameters.tile // _width(accumulator) ** 2, _power_of_two(columns)))


def _width(accumulator: torch.dtype) -> int:
    # A float64 takes two registers.
    return 2 if accumulator == torch.float64 else 1


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


def partial_programs(tiles: int, programs: int, multiprocessors: int) -> int:
    """Give the number of programs that share ``tiles``: each multiprocessor gets one first, and every further program several tiles.

    Partial sums cost traffic: a program with four or more tiles writes little beside what it reads. Programs get equally many tiles, give
    or take one.
    """
    most = max(1, min(tiles, max(multiprocessors, min(tiles // 4, programs * multiprocessors))))
    return -(-tiles // -(-tiles // most))
