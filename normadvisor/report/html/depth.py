"""Charts of one number of every layer, from the first layer to the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from normadvisor.report.html.axes import BELOW, LETTER, WIDE, Scale, depth_labels, fixed, log_scale, y_axis
from normadvisor.report.html.markup import EMPTY, joined, path, tag, text
from normadvisor.report.measured.health import Health, Zone
from normadvisor.report.measured.numbers import Band, band, decades
from normadvisor.report.measured.stages import Stage
from normadvisor.types import GROUPS, LayerMeasurements, Severity

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Depth", "DepthPlot", "Reference", "depth_plot", "frame", "zone_labels", "zone_shapes"]

DENSE = 120
"""Layers of one kind beyond which points run into each other."""
MOST_RIGHT = 94
LONGEST_RULE = 12
_NORMS = frozenset(GROUPS["norm"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The horizontal axis that all charts of a model share."""

    layers: Sequence[LayerMeasurements]
    parts: Sequence[Stage]
    zones: Sequence[Zone]
    health: Health


class Reference(NamedTuple):
    """A range that numbers usually are in."""

    low: float
    high: float
    label: str


class DepthPlot(NamedTuple):
    """A finished chart."""

    axis: Markup
    plot: Markup


class _Mark(NamedTuple):
    position: int
    layer: LayerMeasurements
    band: Band


def depth_plot(
    depth: Depth, key: str, description: str, *, height: int, reference: Reference | None = None, labelled: bool = False
) -> DepthPlot | None:
    """Median, smallest and largest of ``key`` over the steps, by layer, on a logarithmic axis; ``None`` where nothing was measured.

    Layers with weights are connected; norms stand beside them as rings, since their few parameters have gradients of another size.
    """
    marks = [_Mark(index, layer, band(layer.series.get(key, ()))) for index, layer in enumerate(depth.layers)]
    marks = [mark for mark in marks if mark.band.measured]
    if not marks:
        return None
    low, high = decades((mark.band for mark in marks), include=(reference.low, reference.high) if reference else ())
    scale = log_scale(low, high)
    others = [mark for mark in marks if mark.layer.op in _NORMS]
    main = [mark for mark in marks if mark.layer.op not in _NORMS]
    if len(main) < 2:
        main, others = marks, []
    shapes = [
        _band(main, scale), _whiskers(others, scale), _line(main, scale), *_dots(others, scale, depth.health, "ring"),
        *_dots(main, scale, depth.health, "dot"), _edges(marks),
    ]  # fmt: skip
    below = _reference(reference, scale, len(depth.layers)) if reference else EMPTY
    words = _reference_label(reference, scale, height) if reference else EMPTY
    if labelled:
        words += zone_labels(depth.zones, max(1, len(depth.layers)))
    inner = joined(below, *shapes)
    return DepthPlot(y_axis(scale, height), frame(depth, inner, words, description, height=height, scale=scale))


def frame(depth: Depth, inner: Markup, words: Markup, description: str, *, height: int, scale: Scale | None) -> Markup:
    """The area of a chart: shaded zones, grid, what is drawn, the names of the parts below, and a line for the pointer."""
    count = max(1, len(depth.layers))
    grid = "".join(f"M0 {fixed(tick.y)}H{count}" for tick in scale.ticks) if scale else ""
    cuts = "".join(f"M{part.first} 0V100" for part in depth.parts if part.first)
    stretched = tag(
        "svg",
        zone_shapes(depth.zones), path("cut", cuts), path("grid", grid), inner,
        tag("path", class_="cross", d="M0 0V100", visibility="hidden"),
        class_="inner", width="100%", height=height, viewBox=f"0 0 {count} 100", preserveAspectRatio="none",
    )  # fmt: skip
    labels = depth_labels(depth.parts, count, height + 15)
    inside = (tag("title", description), stretched, words, labels)
    return tag("svg", *inside, class_="area", width="100%", height=height + BELOW, role="img", tabindex=0)


def zone_shapes(zones: Iterable[Zone]) -> Markup:
    """Shades behind the layers that findings speak of."""
    return joined(*(path(f"zone {zone.severity}", f"M{zone.first} 0H{zone.last + 1}V100H{zone.first}Z") for zone in zones))


def zone_labels(zones: Iterable[Zone], count: int) -> Markup:
    """Rules above the layers they speak of, as many as fit; on a phone they stand in the table only."""
    out, end = [], -1.0
    for zone in zones:
        start = 100 * zone.first / count
        if start >= end and start < MOST_RIGHT:
            out.append(text(zone.rule[:LONGEST_RULE], f"{fixed(start + 0.3)}%", 12, f"zone-label wide {zone.severity}"))
            end = start + 100 * LETTER * (min(len(zone.rule), LONGEST_RULE) + 1) / WIDE
    return joined(*out)


def _band(marks: Sequence[_Mark], scale: Scale) -> Markup:
    ends = [(mark.position + 0.5, mark.band.low, mark.band.high) for mark in marks]
    known = [(x, scale.y(low), scale.y(high)) for x, low, high in ends if low is not None and high is not None]
    if len(known) < 2:
        return EMPTY
    top = "L".join(f"{fixed(x)} {fixed(high)}" for x, _low, high in known)
    bottom = "L".join(f"{fixed(x)} {fixed(low)}" for x, low, _high in reversed(known))
    return path("band", f"M{top}L{bottom}Z")


def _whiskers(marks: Sequence[_Mark], scale: Scale) -> Markup:
    lines = [
        f"M{fixed(mark.position + 0.5)} {fixed(scale.y(mark.band.low))}V{fixed(scale.y(mark.band.high))}"
        for mark in marks if mark.band.low is not None and mark.band.high is not None
    ]  # fmt: skip
    return path("whisker", "".join(lines))


def _line(marks: Sequence[_Mark], scale: Scale) -> Markup:
    points = [f"{fixed(mark.position + 0.5)} {fixed(scale.y(mark.band.middle))}" for mark in marks if mark.band.middle is not None]
    return path("line", f"M{'L'.join(points)}") if len(points) > 1 else EMPTY


def _dots(marks: Sequence[_Mark], scale: Scale, health: Health, kind: str) -> Iterator[Markup]:
    """Points of no length, which round ends make visible: circles would be stretched.

    Those of healthy layers are left out where a line connects many.
    """
    groups: dict[Severity | None, list[str]] = {}
    for mark in marks:
        if mark.band.middle is not None:
            severity = health.severity(mark.layer.name)
            groups.setdefault(severity, []).append(f"M{fixed(mark.position + 0.5)} {fixed(scale.y(mark.band.middle))}h0")
    dense = len(marks) > DENSE
    for severity, points in sorted(groups.items(), key=lambda item: -1 if item[0] is None else item[0].rank):
        if dense and severity is None and kind == "dot":
            continue
        yield path(f"{kind} {severity or 'well'}{' dense' if dense else ''}", "".join(points))
        if kind == "ring" and not dense:
            yield path("hole", "".join(points))


def _edges(marks: Sequence[_Mark]) -> Markup:
    """What a logarithmic axis cannot hold: numbers that are not finite at the top, zeros at the bottom."""
    broken = "".join(f"M{fixed(mark.position + 0.5)} 0h0" for mark in marks if mark.band.broken)
    zero = "".join(f"M{fixed(mark.position + 0.5)} 100h0" for mark in marks if mark.band.zero and mark.band.middle is None)
    return joined(path("broken", broken), path("zero", zero))


def _reference(reference: Reference, scale: Scale, count: int) -> Markup:
    top, bottom = fixed(scale.y(reference.high)), fixed(scale.y(reference.low))
    return path("usual", f"M0 {top}H{count}V{bottom}H0Z")


def _reference_label(reference: Reference, scale: Scale, height: int) -> Markup:
    return text(reference.label, "100%", fixed(scale.y(reference.high) * height / 100 - 4), "usual-label", anchor="end")
