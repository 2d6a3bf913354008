"""The table of layers, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.health import Health, worst_first
from normadvisor.report.measured.numbers import number, share, typical
from normadvisor.report.probe.drawing import spark
from normadvisor.report.probe.paper import Paper
from normadvisor.report.tally import counted
from normadvisor.report.textual import COLORS
from normadvisor.types import LayerMeasurements, Measurements

__all__ = ["Column", "clipped", "layer_table", "rows_of"]

HEALTHY_ROWS = 8
"""Rows where no finding speaks of any layer."""
MOST_ROWS = 16
"""Rows where findings do, unless these speak of more layers."""
MOST_BAD_ROWS = 40
SPARK = 12
LEAST_NAME = 14
COMFORTABLE_NAME = 30
"""Columns are left out for names up to this length, but not below :data:`LEAST_WORTH`."""
LEAST_WORTH = 6
MOST_NAME = 44
MOST_CLASS = 18
MOST_RULES = 20


class Column(NamedTuple):
    """One column beside the name."""

    title: str
    text: Callable[[LayerMeasurements], str]
    worth: int
    """The column of the smallest worth goes first where there is no room."""
    right: bool = True


def layer_table(measured: Measurements, health: Health, paper: Paper) -> list[Text]:
    """Rows with the typical numbers of each layer; columns that say nothing of any shown layer, or do not fit, are left out."""
    ordered = worst_first(measured, health)
    bad = sum(health.severity(layer.name) is not None for layer in ordered)
    shown = ordered[: max(MOST_ROWS, min(bad, MOST_BAD_ROWS)) if bad else HEALTHY_ROWS]
    if not shown:
        return []
    lines = rows_of(shown, _columns(shown, health, unicode=paper.unicode), health, paper)
    rest = ordered[len(shown) :]
    if rest:
        still = sum(health.severity(layer.name) is not None for layer in rest)
        words = f", {still} of them with findings" if still else " without findings"
        lines += paper.wrapped(Text(f"and {counted(len(rest), 'more layer')}{words}; the HTML and JSON reports have all", style="dim"))
    return lines


def _columns(shown: Sequence[LayerMeasurements], health: Health, *, unicode: bool) -> list[Column]:
    def middle(key: str) -> Callable[[LayerMeasurements], str]:
        return lambda layer: _known(typical(layer, key), number)

    def rules(layer: LayerMeasurements) -> str:
        return clipped(" ".join(map(one_line, health.rules(layer.name))), MOST_RULES, unicode=unicode)

    columns = [
        Column("", lambda layer: clipped(one_line(layer.cls), MOST_CLASS, unicode=unicode), 0, right=False),
        Column("by step", lambda layer: spark(layer.series.get("grad_norm", ()), SPARK, unicode=unicode), 5, right=False),
        Column("grad norm", middle("grad_norm"), 9),
        Column("grad rms", middle("grad_rms"), 4),
        Column("weights", middle("weight_norm"), 1),
        Column("update", middle("update_ratio"), 7),
        Column("out std", middle("act_std"), 3),
        Column("dead", lambda layer: _known(typical(layer, "dead_share"), share), 6),
        Column("saturated", lambda layer: _known(typical(layer, "saturated_share"), share), 6),
        Column("bn noise", lambda layer: _known(_float(layer.facts.get("bn_noise")), number), 2),
        Column("not finite", lambda layer: f"{count:.0f}" if (count := _nonfinite(layer)) else "", 8),
        Column("findings", rules, 10, right=False),
    ]
    nothing = {"", share(0.0)}
    return [column for column in columns if any(column.text(layer).strip() not in nothing for layer in shown)]


def rows_of(shown: Sequence[LayerMeasurements], columns: Sequence[Column], health: Health, paper: Paper) -> list[Text]:
    """A header and a row per layer, none wider than the paper."""
    width, unicode = paper.width, paper.unicode
    wanted = max(LEAST_NAME, min(MOST_NAME, max(cell_len(_name(layer)) for layer in shown)))
    cells = {column: [column.text(layer) for layer in shown] for column in columns}
    sizes = {column: max(cell_len(text) for text in (column.title, *cells[column])) for column in columns}
    kept = list(columns)
    while kept:
        least = min(kept, key=lambda column: column.worth)
        room = min(wanted, COMFORTABLE_NAME) if least.worth < LEAST_WORTH else LEAST_NAME
        if room + sum(sizes[column] + 2 for column in kept) <= width:
            break
        kept.remove(least)
    room = max(LEAST_NAME, min(wanted, width - sum(sizes[column] + 2 for column in kept)))
    lines = [_row("layer", [(column, column.title) for column in kept], sizes, room, unicode=unicode)]
    lines[0].stylize("dim")
    for index, layer in enumerate(shown):
        line = _row(_name(layer), [(column, cells[column][index]) for column in kept], sizes, room, unicode=unicode)
        severity = health.severity(layer.name)
        if severity is not None:
            line.stylize(COLORS[severity], 0, len(clipped(_name(layer), room, unicode=unicode)))
        lines.append(line)
    return lines


def _row(name: str, cells: Sequence[tuple[Column, str]], sizes: dict[Column, int], room: int, *, unicode: bool) -> Text:
    def pieces() -> Iterator[str]:
        yield set_cell_size(clipped(name, room, unicode=unicode), room)
        for column, text in cells:
            padding = " " * (sizes[column] - cell_len(text))
            yield "  " + (padding + text if column.right else text + padding)

    line = Text("".join(pieces()))
    line.rstrip()
    return line


def clipped(name: str, room: int, *, unicode: bool) -> str:
    """A name in at most ``room`` cells; the middle goes, since beginnings and ends tell layers apart."""
    if cell_len(name) <= room:
        return name
    ellipsis = "\u2026" if unicode else "..."
    left = (room - len(ellipsis)) // 3
    right = room - len(ellipsis) - left
    head = set_cell_size(name, left)
    tail = name
    while cell_len(tail) > right:
        tail = tail[max(1, (cell_len(tail) - right) // 2) :]
    return f"{head}{ellipsis}{tail}"


def _name(layer: LayerMeasurements) -> str:
    return one_line(layer.name) or "the model itself"


def _known(value: float | None, words: Callable[[float | None], str]) -> str:
    """Nothing where nothing was measured: most layers have no number in some column."""
    return "" if value is None else words(value)


def _nonfinite(layer: LayerMeasurements) -> float:
    found = [value for key in ("nonfinite", "grad_nonfinite") for value in layer.series.get(key, ()) if value]
    return max(found, default=0.0)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
