"""Heat maps: a share by layer and step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from normadvisor.report.html.axes import axis, fixed
from normadvisor.report.html.depth import Depth, DepthPlot, frame
from normadvisor.report.html.markup import EMPTY, joined, path, text

__all__ = ["LEVELS", "heat_map"]

LEVELS = (0.1, 0.3, 0.5, 0.7)
"""Shares at which the shade changes; rules begin to speak of dead units between 0.5 and 0.7."""
MOST_ROWS = 24
"""Steps beyond which several share a row, which shows the largest of them."""
ROW = 11
"""Pixels per step."""


class _Cell(NamedTuple):
    left: float
    right: float
    row: int
    level: int


def heat_map(depth: Depth, key: str, description: str) -> DepthPlot | None:
    """Shares by layer (across) and step (down); ``None`` where none was measured, or none is worth a shade.

    The width of a layer reaches to the middle between it and its neighbours that have a share, so that there are no gaps where such layers
    follow each other at equal distances.
    """
    measured = [(index, layer.series.get(key, ())) for index, layer in enumerate(depth.layers)]
    columns = [(index, _rows(series)) for index, series in measured if any(value is not None for value in series)]
    rows = max((len(values) for _index, values in columns), default=0)
    if not any(_level(values, row) for _index, values in columns for row in range(len(values))):
        return None
    steps = max(len(series) for _index, series in measured)
    height = max(28, rows * ROW)
    groups: dict[int, list[str]] = {}
    for cell in _merged(columns):
        top, bottom = fixed(100 * cell.row / rows), fixed(100 * (cell.row + 1) / rows)
        left, right = fixed(max(0.0, cell.left)), fixed(min(float(len(depth.layers)), cell.right))
        groups.setdefault(cell.level, []).append(f"M{left} {top}H{right}V{bottom}H{left}Z")
    shapes = joined(*(path(f"heat{level}", "".join(found)) for level, found in sorted(groups.items())))
    bare = replace(depth, zones=())  # their shades would be taken for shares
    labels = [text("step 1", "100%", 11, "tick", anchor="end")]
    if rows > 1:
        labels.append(text(str(steps), "100%", height - 1, "tick", anchor="end"))
    return DepthPlot(axis(labels, height), frame(bare, shapes, EMPTY, description, height=height, scale=None))


def _rows(series: Sequence[float | None]) -> list[float | None]:
    """At most so many rows; the largest share of the steps that share one, and nothing where none of them has one."""
    if len(series) <= MOST_ROWS:
        return list(series)
    edges = [index * len(series) // MOST_ROWS for index in range(MOST_ROWS + 1)]
    found = []
    for index in range(MOST_ROWS):
        known = [value for value in series[edges[index] : edges[index + 1]] if value is not None]
        found.append(max(known, default=None))
    return found


def _merged(columns: Sequence[tuple[int, Sequence[float | None]]]) -> Iterator[_Cell]:
    """Cells with equal neighbours to the right joined to one."""
    edges = _edges([index + 0.5 for index, _values in columns])
    for row in range(max(len(values) for _index, values in columns)):
        start, level = 0, _level(columns[0][1], row)
        for column in range(1, len(columns) + 1):
            found = _level(columns[column][1], row) if column < len(columns) else -1
            if found == level and edges[column][0] == edges[column - 1][1]:
                continue
            yield _Cell(edges[start][0], edges[column - 1][1], row, level)
            start, level = column, found


def _edges(centres: Sequence[float]) -> list[tuple[float, float]]:
    """Where the cells of each layer begin and end: in the middle between two layers, unless they are farther apart than most are."""
    gaps = [after - before for before, after in pairwise(centres)]
    reach = max(0.5, median(gaps) / 2) if gaps else 0.5
    middles = [(before + after) / 2 if after - before <= 2 * reach else None for before, after in pairwise(centres)]
    return [
        (centre - reach if left is None else left, centre + reach if right is None else right)
        for centre, left, right in zip(centres, [None, *middles], [*middles, None], strict=True)
    ]


def _level(values: Sequence[float | None], row: int) -> int:
    """0 for no share worth a shade, then one more at each of :data:`LEVELS`; 9 where nothing was measured."""
    value = values[row] if row < len(values) else None
    if value is None or math.isnan(value):
        return 9
    return sum(value >= level for level in LEVELS)
