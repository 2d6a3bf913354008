"""The table of layers, and the numbers a pointer on a chart asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from normadvisor.report.clean import one_line
from normadvisor.report.html.curves import sparkline
from normadvisor.report.html.tree import breakable, icon, shortened
from normadvisor.report.measured.health import Health, worst_first
from normadvisor.report.measured.numbers import number, share, typical
from normadvisor.types import LayerMeasurements, Measurements, Severity

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["LayerTable", "Row", "hover_data", "layer_table"]

MOST_ROWS = 400
FIRST_ROWS = 25
"""Rows that are shown at once; the others open."""


class _Number(NamedTuple):
    title: str
    text: Callable[[LayerMeasurements], str]
    nothing: str = ""
    """What stands in a column that is left out where nothing else does."""


class Row(NamedTuple):
    """A layer."""

    icon: Markup
    severity: Severity | None
    name: Markup
    cls: str
    spark: Markup
    numbers: list[str]
    rules: list[tuple[str, str]]
    """Ids of rules and the anchors of their findings."""


class LayerTable(NamedTuple):
    """Rows, the worst first."""

    titles: list[str]
    first: list[Row]
    others: list[Row]
    left_out: int
    marked: bool
    """Whether findings speak of any layer."""


def layer_table(measured: Measurements, health: Health, anchors: Mapping[int, str]) -> LayerTable:
    """The typical numbers of each layer; columns without any number are left out.

    Args:
        measured: the model.
        health: findings by layer.
        anchors: where a finding stands on the page, by its identity.

    """
    columns = _columns(measured)
    ordered = worst_first(measured, health)
    bad = sum(health.severity(layer.name) not in {None, Severity.INFO} for layer in ordered)
    rows = [_row(layer, columns, health, anchors) for layer in ordered[:MOST_ROWS]]
    first = len(rows) if len(rows) <= FIRST_ROWS + 5 else max(FIRST_ROWS, min(bad, 2 * FIRST_ROWS))
    titles = [column.title for column in columns]
    return LayerTable(titles, rows[:first], rows[first:], len(ordered) - len(rows), any(row.rules for row in rows))


def _columns(measured: Measurements) -> list[_Number]:
    return [column for column in _NUMBERS if any(column.text(layer) not in {"", column.nothing} for layer in measured.layers)]


def _row(layer: LayerMeasurements, columns: Sequence[_Number], health: Health, anchors: Mapping[int, str]) -> Row:
    severity = health.severity(layer.name)
    links = {one_line(item.rule): anchors.get(id(item), "") for item in reversed(health.by_layer.get(layer.name, ()))}
    return Row(
        icon(severity), severity, breakable(layer.name), shortened(layer.cls, 40),
        sparkline(layer.series.get("grad_norm", ())), [column.text(layer) for column in columns], list(reversed(links.items())),
    )  # fmt: skip


def hover_data(measured: Measurements, health: Health) -> dict[str, Any]:
    """What a pointer on a chart shows of each layer: titles, and per layer its name, class, rules and numbers as text."""
    columns = [column for column in (_WEIGHTS,) if any(column.text(layer) for layer in measured.layers)] + _columns(measured)
    layers = [
        [
            shortened(layer.name) or "the model itself",
            shortened(layer.cls, 40),
            " ".join(shortened(rule, 20) for rule in health.rules(layer.name)),
            *(column.text(layer) for column in columns),
        ]
        for layer in measured.layers
    ]
    return {"titles": [column.title for column in columns], "layers": layers}


def _typical(key: str, words: Callable[[float | None], str] = number) -> Callable[[LayerMeasurements], str]:
    def said(layer: LayerMeasurements) -> str:
        value = typical(layer, key)
        return "" if value is None else words(value)

    return said


def _fact(key: str) -> Callable[[LayerMeasurements], str]:
    def said(layer: LayerMeasurements) -> str:
        value = layer.facts.get(key)
        return number(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else ""

    return said


def _nonfinite(layer: LayerMeasurements) -> str:
    found = [value for key in ("nonfinite", "grad_nonfinite") for value in layer.series.get(key, ()) if value and not math.isnan(value)]
    return number(max(found)) if found else ""


_NUMBERS = (
    _Number("Gradient norm", _typical("grad_norm")),
    _Number("Gradient RMS", _typical("grad_rms")),
    _Number("Weight norm", _typical("weight_norm")),
    _Number("Update ratio", _typical("update_ratio")),
    _Number("Output mean", _typical("act_mean")),
    _Number("Output std", _typical("act_std")),
    _Number("Dead", _typical("dead_share", share), share(0.0)),
    _Number("Saturated", _typical("saturated_share", share), share(0.0)),
    _Number("Batch noise", _fact("bn_noise")),
    _Number("Not finite", _nonfinite),
)
_WEIGHTS = _Number("Gradient norm, weights", _typical("weight_grad_norm"))
"""What the chart of gradient norms shows where it is known."""
