"""Which way a GroupNorm of some shape is computed, and in what tiles: a plain function of sizes, so that it can be tested and tuned.

What counts is how often memory is read, that neighbouring threads read neighbouring memory, and that there are programs for every
multiprocessor:

- *whole*: a group fits into the registers of one program, which reads it once.
- *streamed*: there are enough groups for the GPU, and those in work at a time fit into its L2 cache: a program reads its group twice, the
  second time from the cache.
- *split*: anything else, few large groups above all: many programs share a group; read twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, gcd

from normadvisor.fused.common.launch import Launch, launch, register_launches

__all__ = ["Grouped", "Shape", "Split", "next_power", "plan", "split"]

register_launches(
    "group_norm",
    {
        # tile: what small groups are gathered to; limit: elements, padding included, that one program keeps in registers.
        "whole": Launch(tile=1024, num_warps=16, limit=16384, programs=4),
        "whole_backward": Launch(tile=1024, num_warps=16, limit=8192, programs=4),
        # limit: bytes of the groups in work at a time, to be found again in the L2 cache; half of the 50 MB of an H100.
        "streamed": Launch(tile=8192, num_warps=8, limit=24 * 2**20, programs=2),
        "streamed_backward": Launch(tile=4096, num_warps=8, limit=24 * 2**20, programs=2),
        "statistics": Launch(tile=4096, num_warps=8, programs=8),
        "apply": Launch(tile=4096, num_warps=8, programs=16),
        "sums": Launch(tile=4096, num_warps=8, programs=8),
        "gradient": Launch(tile=4096, num_warps=8, programs=16),
        # tile: most partial results that a program joins at a time.
        "combine": Launch(tile=4096, num_warps=8),
    },
)

_SECTOR = 32
"""Bytes that memory moves at least; fewer neighbouring bytes waste the rest."""
_RUN = 64
"""Neighbouring bytes that a tile of channels-last groups should have: fewer cost more instructions than they are worth."""
_WASTE = 1.15
"""Share of lanes, in times of the positions, up to which a longer tile is taken without looking for one that fits better."""
_NARROWEST = 128
"""Shortest run of positions that a tile is cut to for a better fit: still several lines of 128 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a plan depends on."""

    samples: int
    channels: int
    groups: int
    positions: int
    channels_last: bool
    itemsize: int
    """Bytes of an element of the input."""
    multiprocessors: int

    @property
    def rows(self) -> int:
        """Groups of all samples."""
        return self.samples * self.groups

    @property
    def depth(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """``r`` groups to a program, in tiles of ``r`` groups, ``d`` channels and ``s`` positions."""

    r: int
    d: int
    s: int
    loop: bool
    """Whether the tile is smaller than a group, which is read twice then."""
    num_warps: int
    programs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``tiles`` tiles of ``c`` channels and ``s`` positions to a program; the positions of a channel are cut into ``chunks``."""

    c: int
    s: int
    tiles: int
    chunks: int
    num_warps: int
    num_stages: int
    programs: int


def next_power(number: int) -> int:
    """Smallest power of two that is not below ``number``."""
    return 1 << max(number - 1, 0).bit_length()


def plan(shape: Shape, *, backward: bool = False) -> Grouped | None:
    """Decide on the grouped way; ``None`` means the split way.

    Args:
        shape: sizes, all at least 1.
        backward: whether it is for the gradients, which read two tensors.

    """
    suffix = "_backward" if backward else ""
    whole = _parameters(f"whole{suffix}", shape)
    if shape.itemsize == _DOUBLE:
        whole = replace(whole, limit=whole.limit // 2)
    return _whole(shape, whole) or _streamed(shape, _parameters(f"streamed{suffix}", shape), 1 + backward)


def _parameters(name: str, shape: Shape) -> Launch:
    """Launch parameters of a regime; float64 takes two registers, so that half of a tile fits."""
    found = launch(f"group_norm.{name}")
    return replace(found, tile=max(1, found.tile // 2)) if shape.itemsize == _DOUBLE else found


_DOUBLE = 8
"""Bytes of a float64."""


def _whole(shape: Shape, parameters: Launch) -> Grouped | None:
    d, s = next_power(shape.depth), next_power(shape.positions)
    if d * s > parameters.limit:
        return None
    r = _neighbours(shape)
    if r * d * s > parameters.limit:
        return None
    while r * d * s < parameters.tile and _programs(shape, 2 * r) >= parameters.programs * shape.multiprocessors:
        r *= 2
    warps = min(parameters.num_warps, max(1, next_power(ceil(r * d * s / (32 * 16)))))
    return Grouped(r=r, d=d, s=s, loop=False, num_warps=warps, programs=_programs(shape, r))


def _streamed(shape: Shape, parameters: Launch, tensors: int) -> Grouped | None:
    r = _neighbours(shape)
    programs = _programs(shape, r)
    wanted = parameters.programs * shape.multiprocessors
    in_work = wanted * r * shape.depth * shape.positions * shape.itemsize * tensors
    if programs < wanted or in_work > parameters.limit:
        return None
    if shape.channels_last:
        d = min(next_power(shape.depth), parameters.tile // r)
        s = max(1, min(parameters.tile // (r * d), next_power(shape.positions)))
    else:
        s = _fitting(shape.positions, parameters.tile)
        d = max(1, min(parameters.tile // s, _power_below(shape.depth)))
    return Grouped(r=r, d=d, s=s, loop=True, num_warps=parameters.num_warps, programs=programs)


def _neighbours(shape: Shape) -> int:
    """Groups that a program takes at least, so that neighbouring threads read neighbouring channels."""
    if not shape.channels_last:
        return 1
    r = 1
    while r < shape.groups and r * shape.depth * shape.itemsize < _RUN:
        r *= 2
    return r


def _programs(shape: Shape, r: int) -> int:
    return shape.samples * ceil(shape.groups / r) if shape.channels_last else ceil(shape.rows / r)


def split(shape: Shape, name: str) -> Split:
    """Give the tiles of a kernel of the split way.

    Args:
        shape: sizes, all at least 1.
        name: regime: ``statistics``, ``apply``, ``sums`` or ``gradient``.

    """
    parameters = _parameters(name, shape)
    if shape.channels_last:
        c = min(_channels_tile(shape.channels, shape.itemsize), parameters.tile)
        s = min(parameters.tile // c, next_power(shape.positions))
    else:
        s = _fitting(shape.positions, parameters.tile)
        c = min(parameters.tile // s, next_power(shape.channels))
    blocks = shape.samples * ceil(shape.channels / c)
    all_tiles = ceil(shape.positions / s)
    chunks = max(1, min(all_tiles, ceil(parameters.programs * shape.multiprocessors / blocks)))
    tiles = ceil(all_tiles / chunks)
    chunks = ceil(all_tiles / tiles)
    return Split(
        c=c, s=s, tiles=tiles, chunks=chunks, num_warps=parameters.num_warps, num_stages=parameters.num_stages, programs=blocks * chunks
    )


def _channels_tile(channels: int, itemsize: int) -> int:
    """Channels of a tile where they are neighbours in memory: whole lines of 128 bytes, with the fewest lanes beyond the last channel."""
    widest = 256 // itemsize
    candidates = [widest, widest // 2, widest // 4]
    return (
        min(candidates, key=lambda width: (ceil(channels / width) * width, -width))
        if channels >= _SECTOR // itemsize
        else next_power(channels)
    )


def _fitting(positions: int, tile: int) -> int:
    """Positions of a tile where they are neighbours in memory: as many as possible without many lanes beyond the last position."""
    longest = min(next_power(positions), tile)
    candidates = [longest >> i for i in range(longest.bit_length()) if longest >> i >= min(longest, _NARROWEST)]
    covered = [ceil(positions / candidate) * candidate / positions for candidate in candidates]
    for candidate, share in zip(candidates, covered, strict=True):
        if share <= _WASTE:
            return candidate
    return candidates[covered.index(min(covered))]


def _power_below(number: int) -> int:
    """Largest power of two that divides ``number``: tiles of so many channels have no lanes beyond the last one."""
    return gcd(number, 1 << 20)
