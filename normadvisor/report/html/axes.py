"""What the charts share: places on them in numbers, ticks, and labels along the depth of a model.

A chart is an SVG that is as wide as its place. What is drawn stands in an inner SVG that is stretched to it, with lines that keep their
width; words stand outside of it at percentages and are not stretched. So one picture, made without a script, serves paper and phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size

from normadvisor.report.html.markup import joined, tag, text
from normadvisor.report.measured.numbers import loss, superscript
from normadvisor.report.measured.stages import Stage

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["BELOW", "LETTER", "WIDE", "Scale", "Tick", "axis", "depth_labels", "fixed", "linear_scale", "log_scale", "y_axis"]

LETTER = 6.6
"""Pixels that a letter of a label takes, at most, on average."""
GAP = 10
"""Pixels between two labels."""
MOST_LETTERS = 22
WIDTHS = {"stage widest": 890, "stage wide": 590, "stage": 230}
"""Pixels that a chart has at least where labels of a class are shown: on pages from 1000, from 700, and from 320 pixels on."""
WIDE = WIDTHS["stage wide"]
MOST_TICKS = 6
AXIS = 44
"""Pixels left of a chart for the labels of its axis."""
BELOW = 20
"""Pixels below a chart for the names of the parts."""


class Tick(NamedTuple):
    """A line across the chart and its label."""

    y: float
    """From 0 at the top to 100."""
    label: str


class Scale(NamedTuple):
    """A vertical axis."""

    low: float
    high: float
    """Ends; powers of ten where it is logarithmic."""
    logarithmic: bool
    ticks: tuple[Tick, ...]

    def y(self, value: float) -> float:
        """Place of a number, from 0 at the top to 100; beyond them for numbers outside of the axis."""
        at = math.log10(value) if self.logarithmic else value
        return 100 * (self.high - at) / (self.high - self.low)


def log_scale(low: int, high: int) -> Scale:
    """An axis from one power of ten to another, with about six ticks at most."""
    every = math.ceil((high - low) / (MOST_TICKS - 1))
    exponents = range(high, low - 1, -every)
    return Scale(low, high, True, tuple(Tick(100 * (high - item) / (high - low), superscript(item)) for item in exponents))


def linear_scale(values: Iterable[float], *, most: int = 4) -> Scale:
    """An axis that holds all numbers, with ticks at 1, 2 or 5 times a power of ten."""
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    least = max(abs(low), abs(high)) / 10 or 1.0  # small changes are to look small
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(Tick(100 * (last - item) / (last - first), loss(float(f"{item * step:.6g}"))) for item in range(first, last + 1))
    return Scale(first * step, last * step, False, ticks)


def fixed(value: float) -> str:
    """A coordinate in as few characters as its hundredths need."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def y_axis(scale: Scale, height: int) -> Markup:
    """The column of labels left of a chart that is ``height`` pixels high."""
    return axis((text(tick.label, "100%", fixed(tick.y * height / 100 + 4), "tick", anchor="end") for tick in scale.ticks), height)


def axis(labels: Iterable[Markup], height: int) -> Markup:
    """The column left of a chart, with any labels."""
    return tag("svg", *labels, class_="axis", width=AXIS, height=height + BELOW, aria_hidden="true")


def depth_labels(parts: Sequence[Stage], layers: int, y: int) -> Markup:
    """Names of the parts of a model below a chart: as many as fit the screen; the style hides those that do not fit a narrow one."""
    shown = parts
    classes: dict[Stage, str] = {}
    for cls, pixels in WIDTHS.items():
        shown = _spread(shown, layers, pixels)
        classes |= dict.fromkeys(shown, cls)
    return joined(*(text(_cut(part.name), f"{fixed(100 * part.first / layers)}%", y, cls) for part, cls in classes.items()))


def _spread(parts: Sequence[Stage], layers: int, pixels: int) -> list[Stage]:
    """The parts whose names fit one beside the other, none behind the right end."""
    kept: list[Stage] = []
    end = -1.0
    for part in parts:
        start = pixels * part.first / layers
        stop = start + LETTER * cell_len(_cut(part.name))
        if start >= end and stop <= pixels:
            kept.append(part)
            end = stop + GAP
    return kept


def _cut(name: str) -> str:
    return name if cell_len(name) <= MOST_LETTERS else f"{set_cell_size(name, MOST_LETTERS - 1)}\u2026"
