"""Lines drawn with characters: sparklines and curves on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from normadvisor.report.measured.numbers import values

__all__ = ["Canvas", "Point", "spark"]

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII_BLOCKS = "_.-~=+*#"
ASCII_LINE = "*"
BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots of a braille character, by row and column."""


def spark(series: Sequence[float | None], width: int, *, unicode: bool) -> str:
    """One character per step, at most ``width``, on a logarithmic scale of at least one power of ten.

    A blank is a step without a number, ``!`` one whose number is not finite, ``0`` one that is zero.
    """
    found = _thinned(series, width)
    logs = [math.log10(abs(value)) for value in values(tuple(found)) if value]
    low, high = (min(logs), max(logs)) if logs else (0.0, 0.0)
    if high - low < 1:  # small changes are to look small
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    out = []
    for value in found:
        if value is None:
            out.append(" ")
        elif not math.isfinite(value):
            out.append("!")
        elif value == 0:
            out.append("0")
        else:
            level = (math.log10(abs(value)) - low) / (high - low)
            out.append(blocks[min(len(blocks) - 1, int(level * len(blocks)))])
    return "".join(out)


def _thinned(series: Sequence[float | None], width: int) -> list[float | None]:
    """At most ``width`` of the numbers, evenly spaced; of those between, one that is not finite is kept."""
    if len(series) <= width:
        return list(series)
    edges = [round(index * len(series) / width) for index in range(width + 1)]
    groups = [series[start:stop] for start, stop in pairwise(edges)]
    return [next((value for value in group if value is not None and not math.isfinite(value)), group[-1]) for group in groups]


class Point(NamedTuple):
    """A number on the canvas, both from 0 to 1; ``y`` upwards."""

    x: float
    y: float


@dataclass(slots=True)
class Canvas:
    """A grid of characters that a curve is drawn on."""

    width: int
    height: int
    unicode: bool
    _dots: dict[tuple[int, int], int] = field(default_factory=dict)

    def curve(self, points: Sequence[Point]) -> None:
        """Connect points from left to right."""
        across, down = (2, 4) if self.unicode else (1, 1)
        columns, rows = self.width * across, self.height * down
        placed = [(min(columns - 1, int(point.x * columns)), (rows - 1) * (1 - point.y)) for point in points]
        for (left, start), (right, end) in zip(placed, placed[1:] or placed, strict=False):
            for column in range(left, right + 1):
                share = (column - left) / (right - left) if right > left else 0.0
                following = min(1.0, share + 1 / (right - left)) if right > left else 1.0
                first, last = start + (end - start) * share, start + (end - start) * following
                for row in range(round(min(first, last)), max(round(max(first, last)), round(min(first, last)) + 1)):
                    self._dot(column, row, across, down)

    def _dot(self, column: int, row: int, across: int, down: int) -> None:
        place = (row // down, column // across)
        bit = BRAILLE[row % down][column % across] if self.unicode else 1
        self._dots[place] = self._dots.get(place, 0) | bit

    def lines(self, marks: Mapping[tuple[int, int], str] | None = None) -> list[str]:
        """The rows from the top; ``marks`` are characters by row and column that stand over the curve."""
        out = []
        for row in range(self.height):
            cells = [self._dots.get((row, column), 0) for column in range(self.width)]
            text = [(chr(0x2800 + bits) if self.unicode else ASCII_LINE) if bits else " " for bits in cells]
            for (at, column), char in (marks or {}).items():
                if at == row:
                    text[column] = char
            out.append("".join(text))
        return out
