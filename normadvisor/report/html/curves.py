"""Curves by step or iteration, and the small ones in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from normadvisor.report.html.axes import BELOW, Scale, fixed, linear_scale, log_scale, y_axis
from normadvisor.report.html.depth import DepthPlot
from normadvisor.report.html.markup import EMPTY, joined, path, tag, text
from normadvisor.report.measured.numbers import band, decades, values

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Level", "curve_plot", "sparkline"]

HEIGHT = 120
SPARK_WIDTH, SPARK_HEIGHT = 72, 18
MOST_POINTS = 600


class Level(NamedTuple):
    """A number to compare a curve with."""

    value: float
    label: str


def curve_plot(series: Sequence[float | None], description: str, *, unit: str, level: Level | None = None) -> DepthPlot | None:
    """A curve by step, on a logarithmic axis where its numbers are far apart; ``None`` where there are fewer than two."""
    found = values(tuple(series))
    if len(found) < 2:
        return None
    ends = [*found, level.value] if level else found
    apart = min(ends) > 0 and max(ends) / min(ends) > 50
    scale = log_scale(*decades([band(tuple(found))], include=[level.value] if level else [])) if apart else linear_scale(ends)
    last = len(series) - 1
    points = [(index, value) for index, value in enumerate(series) if value is not None]
    finite = [(index, value) for index, value in points if math.isfinite(value)]
    every = -(-len(finite) // MOST_POINTS)
    drawn = [*finite[::every], *([finite[-1]] if (len(finite) - 1) % every else [])]
    line = "L".join(f"{index} {fixed(scale.y(value))}" for index, value in drawn)
    broken = "".join(f"M{index} 0h0" for index, value in points if not math.isfinite(value))
    dots = "".join(f"M{index} {fixed(scale.y(value))}h0" for index, value in drawn) if len(drawn) <= 24 else ""
    inner = joined(_level(level, scale, last), path("line", f"M{line}"), path("dot well", dots), path("broken", broken))
    return DepthPlot(y_axis(scale, HEIGHT), _area(inner, scale, last, description, unit, level))


def _area(inner: Markup, scale: Scale, last: int, description: str, unit: str, level: Level | None) -> Markup:
    grid = "".join(f"M0 {fixed(tick.y)}H{last}" for tick in scale.ticks)
    first = 1 if unit == "step" else 0
    labels = [text(f"{unit} {first}", "0", HEIGHT + 15, "stage"), text(str(last + first), "100%", HEIGHT + 15, "stage", anchor="end")]
    if level is not None:
        at = scale.y(level.value) * HEIGHT / 100
        labels.append(text(level.label, "100%", fixed(at - 5 if at > 20 else at + 13), "usual-label", anchor="end"))
    stretched = tag(
        "svg", path("grid", grid), inner, class_="inner", width="100%", height=HEIGHT, viewBox=f"0 0 {last} 100", preserveAspectRatio="none"
    )
    return tag("svg", tag("title", description), stretched, *labels, class_="area", width="100%", height=HEIGHT + BELOW, role="img")


def _level(level: Level | None, scale: Scale, last: int) -> Markup:
    return EMPTY if level is None else path("level", f"M0 {fixed(scale.y(level.value))}H{last}")


def sparkline(series: Sequence[float | None]) -> Markup:
    """A curve of at least one power of ten in height, for a row of a table; empty where there is nothing to draw."""
    known = [(index, value) for index, value in enumerate(series) if value is not None]
    if len(known) < 2:
        return EMPTY
    every = max(1, -(-len(known) // SPARK_WIDTH))
    logs = [(index, math.log10(value)) for index, value in known[::every] if math.isfinite(value) and value > 0]
    low, high = (min(at for _index, at in logs), max(at for _index, at in logs)) if logs else (0.0, 0.0)
    if high - low < 1:  # small changes are to look small
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    across = (SPARK_WIDTH - 4) / max(1, len(series) - 1)
    points = [f"{fixed(2 + index * across)} {fixed(2 + (SPARK_HEIGHT - 4) * (high - at) / (high - low))}" for index, at in logs]
    broken = "".join(f"M{fixed(2 + index * across)} 3h0" for index, value in known if not math.isfinite(value))
    zero = "".join(f"M{fixed(2 + index * across)} {SPARK_HEIGHT - 2}h0" for index, value in known if value == 0)
    line = f"M{'L'.join(points)}{'h0' if len(points) == 1 else ''}" if points else ""
    return tag(
        "svg", path("line", line), path("broken", broken), path("zero", zero),
        class_="spark", width=SPARK_WIDTH, height=SPARK_HEIGHT, aria_hidden="true",
    )  # fmt: skip
