"""The depth chart: a number of every layer, from the first layer to the last, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.health import Health
from normadvisor.report.measured.numbers import Band, band, decades, superscript
from normadvisor.report.measured.stages import stages
from normadvisor.report.probe.drawing import Canvas, Point
from normadvisor.report.textual import COLORS
from normadvisor.types import GROUPS, LayerMeasurements, Severity

__all__ = ["depth_chart"]

HEIGHT = 8
GUTTER = 9
WIDEST = 160
"""Columns beyond which a curve is read no better."""
FEWEST_LAYERS = 3
"""Fewer are read better in the table."""
SHARPS = {Severity.ERROR: "\u25b2", Severity.WARNING: "\u25b3"}
PLAIN_SHARPS = {Severity.ERROR: "#", Severity.WARNING: "^"}


_NORMS = frozenset(GROUPS["norm"])


class _Column(NamedTuple):
    """Layers that share a column of the chart."""

    band: Band
    severity: Severity | None


def depth_chart(layers: Sequence[LayerMeasurements], key: str, health: Health, *, width: int, unicode: bool) -> list[Text]:
    """Lines of the chart of ``key``; empty where fewer than three layers have a number to show."""
    shown = [layer for layer in layers if band(layer.series.get(key, ())).measured]
    weights = [layer for layer in shown if layer.op not in _NORMS]
    if len(weights) >= FEWEST_LAYERS:  # norms have few parameters, with gradients of another size
        shown = weights
    bands = [band(layer.series.get(key, ())) for layer in shown]
    if sum(item.middle is not None for item in bands) < FEWEST_LAYERS:
        return []
    room = max(20, min(width, WIDEST) - GUTTER)
    across = min(room, max(len(shown) * 4, 40))
    columns = _columns(shown, bands, health, across)
    low, high = decades(column.band._replace(low=column.band.middle, high=column.band.middle) for column in columns)
    canvas = Canvas(across, HEIGHT, unicode)
    points = [
        Point((position + 0.5) / len(columns), (math.log10(column.band.middle) - low) / (high - low))
        for position, column in enumerate(columns) if column.band.middle is not None
    ]  # fmt: skip
    canvas.curve(points)
    lines = canvas.lines(_marks(columns, across, unicode=unicode))
    colors = _colors(columns, across)
    out = []
    for row, line in enumerate(lines):
        text = Text.assemble((_tick(row, low, high, unicode=unicode), "dim"), ("\u2502" if unicode else "|", "dim"), line)
        for start, stop, style in colors:
            text.stylize(style, GUTTER + start, GUTTER + stop)
        out.append(text)
    return [*out, *_axis(shown, columns, across, unicode=unicode)]


def _columns(shown: Sequence[LayerMeasurements], bands: Sequence[Band], health: Health, across: int) -> list[_Column]:
    """One column per layer; where there are more layers than columns, the middle of those that share one, and the worst finding."""
    count = min(len(shown), across)
    columns = []
    for position in range(count):
        inside = range(position * len(shown) // count, (position + 1) * len(shown) // count)
        group = [bands[index] for index in inside]
        middles = sorted(item.middle for item in group if item.middle is not None)
        severities = [severity for index in inside if (severity := health.severity(shown[index].name)) is not None]
        columns.append(
            _Column(
                Band(None, middles[len(middles) // 2] if middles else None, None,
                     any(item.zero for item in group), any(item.broken for item in group)),
                max(severities, key=lambda severity: severity.rank, default=None),
            )
        )  # fmt: skip
    return columns


def _span(position: int, count: int, across: int) -> tuple[int, int]:
    return position * across // count, max((position + 1) * across // count, position * across // count + 1)


def _marks(columns: Sequence[_Column], across: int, *, unicode: bool) -> dict[tuple[int, int], str]:
    """What cannot stand on a logarithmic axis: ``!`` above for numbers that are not finite, ``0`` below for zeros alone."""
    marks = {}
    for position, column in enumerate(columns):
        start, stop = _span(position, len(columns), across)
        middle = (start + stop - 1) // 2
        if column.band.broken:
            marks[0, middle] = "\u00d7" if unicode else "!"
        elif column.band.middle is None and column.band.zero:
            marks[HEIGHT - 1, middle] = "0"
    return marks


def _colors(columns: Sequence[_Column], across: int) -> list[tuple[int, int, str]]:
    return [
        (*_span(position, len(columns), across), COLORS[column.severity])
        for position, column in enumerate(columns)
        if column.severity not in {None, Severity.INFO} and column.severity is not None
    ]


def _tick(row: int, low: int, high: int, *, unicode: bool) -> str:
    """The power of ten that the row's middle is nearest to, if it is the row nearest to it."""
    every = max(1, math.ceil((high - low) / 4))
    for exponent in range(high, low - 1, -every):
        if round((HEIGHT - 1) * (high - exponent) / (high - low)) == row:
            label = superscript(exponent) if unicode else f"1e{exponent}"
            return f"{label:>{GUTTER - 2}} "
    return " " * (GUTTER - 1)


def _axis(shown: Sequence[LayerMeasurements], columns: Sequence[_Column], across: int, *, unicode: bool) -> list[Text]:
    corner, line = ("\u2514", "\u2500") if unicode else ("+", "-")
    out = [Text(" " * (GUTTER - 1) + corner + line * across, style="dim")]
    sharps = SHARPS if unicode else PLAIN_SHARPS
    if any(column.severity in sharps for column in columns):
        marks = Text(" " * GUTTER)
        drawn = [" "] * across
        styles: list[tuple[int, str]] = []
        for position, column in enumerate(columns):
            if column.severity in sharps and column.severity is not None:
                start, stop = _span(position, len(columns), across)
                for place in range(start, stop):
                    drawn[place] = sharps[column.severity]
                    styles.append((place, COLORS[column.severity]))
        marks.append("".join(drawn))
        for place, style in styles:
            marks.stylize(style, GUTTER + place, GUTTER + place + 1)
        marks.rstrip()
        out.append(marks)
    labels = Text(" " * GUTTER + _labels(shown, across), style="dim")
    labels.rstrip()
    return [*out, labels]


def _labels(shown: Sequence[LayerMeasurements], across: int) -> str:
    """Names of the parts of the model where they begin, as many as fit."""
    text = ""
    for stage in stages([one_line(layer.name) for layer in shown]):
        start = stage.first * across // len(shown)
        if start and start < len(text) + 2:
            continue
        text = text.ljust(start) + stage.name
    return text if len(text) <= across else text[: across - 1].rstrip() + "\u2026"
