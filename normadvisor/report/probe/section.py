"""What was measured of one model: numbers of the run, depth charts, the table of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from normadvisor.report.clean import can_draw, one_line
from normadvisor.report.measured.health import findings_of, health_of, weight_gradients
from normadvisor.report.measured.words import missing_words, run_facts, setup_words
from normadvisor.report.options import RenderOptions
from normadvisor.report.probe.chart import depth_chart
from normadvisor.report.probe.drawing import spark
from normadvisor.report.probe.table import layer_table
from normadvisor.types import Measurements, Report

__all__ = ["Paper", "model_section"]

CURVE = 40


class Paper:
    """What lines are written on: a width, and characters that the reader's encoding can hold."""

    def __init__(self, options: RenderOptions, width: int) -> None:
        self.width = width
        self.unicode = can_draw(options.encoding) and _can_draw_blocks(options.encoding)
        self._console = Console(width=width, _environ={})

    def wrapped(self, text: Text, indent: int = 0) -> list[Text]:
        """Lines of at most the width."""
        lines = text.wrap(self._console, max(20, self.width - indent))
        for line in lines:
            line.rstrip()
        return [Text.assemble(" " * indent, line) for line in lines]

    def pairs(self, rows: Sequence[tuple[str, Text]]) -> list[Text]:
        """A label and a text per row, texts one below the other and wrapped within their column."""
        column = min(36, max((cell_len(label) for label, _text in rows), default=0)) + 2
        lines = []
        for label, text in rows:
            found = self.wrapped(text, column) or [Text()]
            if cell_len(label) + 2 > column:
                lines.append(Text(label, style="dim"))
            else:
                found[0] = Text.assemble((f"{label:<{column}}", "dim"), found[0][column:])
            lines += found
        return lines


def model_section(report: Report, measured: Measurements, paper: Paper) -> Iterator[list[Text]]:
    """The blocks about one model, each separated from the next by an empty line."""
    findings = findings_of(report, measured)
    health = health_of(findings)
    head = paper.wrapped(Text(one_line(measured.target) or "model", style="bold"))
    words = setup_words(measured)
    yield head + (paper.wrapped(Text(words, style="dim")) if words else [])
    if notes := [line for note in measured.notes for line in paper.wrapped(Text(f"note: {one_line(note)}"))]:
        yield notes
    if facts := _facts(measured, paper):
        yield facts
    layers = [weight_gradients(layer) for layer in measured.layers]
    for key, title in (
        ("grad_norm", "gradient norm of the weights, by depth (log scale, median over the steps)"),
        ("act_grad_rms", "gradient at the outputs, root mean square, by depth"),
    ):
        if lines := depth_chart(layers, key, title, health, width=paper.width, unicode=paper.unicode):
            yield lines
    if measured.layers:
        title = f"layers, {'worst' if health.by_layer else 'most unusual'} first"
        yield [Text(title, style="bold"), *layer_table(measured, health, width=paper.width, unicode=paper.unicode)]
    else:
        yield [Text("no layers were measured")]
    if missing := missing_words(measured):
        yield [Text("not measured", style="bold"), *paper.pairs([(label, Text(reason)) for label, reason in missing])]


def _facts(measured: Measurements, paper: Paper) -> list[Text]:
    rows = [
        (fact.label, Text.assemble((fact.value, "bold red" if fact.bad else "bold"), (f"  {fact.note}" if fact.note else "", "dim")))
        for fact in run_facts(measured)
    ]
    for label, series in (("Loss, by step", measured.series.get("loss", ())), ("Loss of one batch", measured.curves.get("overfit", ()))):
        if len(series) > 1:
            rows.append((label, Text(spark(series, min(CURVE, paper.width - 24), unicode=paper.unicode).rstrip())))
    return paper.pairs(rows)


def _can_draw_blocks(encoding: str) -> bool:
    try:
        "\u2581\u2588\u28ff".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
