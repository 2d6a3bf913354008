"""What was measured of one model: numbers of the run, depth charts, the table of layers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.health import findings_of, health_of, weight_gradients
from normadvisor.report.measured.words import missing_words, run_facts, setup_words
from normadvisor.report.probe.chart import depth_chart
from normadvisor.report.probe.drawing import spark
from normadvisor.report.probe.paper import Paper
from normadvisor.report.probe.table import layer_table
from normadvisor.types import Measurements, Report

__all__ = ["model_section"]

CURVE = 40
_CHARTS = (
    ("grad_norm", "gradient norm of the weights, by depth (log scale, median over the steps)"),
    ("act_grad_rms", "gradient at the outputs, root mean square, by depth"),
)


def model_section(report: Report, measured: Measurements, paper: Paper, *, brief: bool = False) -> Iterator[list[Text]]:
    """The blocks about one model, each separated from the next by an empty line.

    Args:
        report: for the findings about it.
        measured: its measurements.
        paper: width and characters.
        brief: one chart, and no table where no finding speaks of a layer.

    """
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
    for key, title in _CHARTS[: 1 if brief else None]:
        if lines := depth_chart(layers, key, health, width=paper.width, unicode=paper.unicode):
            yield paper.wrapped(Text(title, style="bold")) + lines
    if not measured.layers:
        yield [Text("no layers were measured")]
    elif health.by_layer or not brief:
        title = f"layers, {'worst' if health.by_layer else 'most unusual'} first"
        yield [Text(title, style="bold"), *layer_table(measured, health, paper)]
    if missing := missing_words(measured):
        each = [Text.assemble((f"{labels}: ", "dim"), reason) for labels, reason in missing]
        yield [Text("not measured", style="bold"), *(line for text in each for line in paper.wrapped(text))]


def _facts(measured: Measurements, paper: Paper) -> list[Text]:
    rows = [
        (fact.label, Text.assemble((fact.value, "bold red" if fact.bad else "bold"), (f"  {fact.note}" if fact.note else "", "dim")))
        for fact in run_facts(measured)
    ]
    for label, series in (("Loss, by step", measured.series.get("loss", ())), ("Loss of one batch", measured.curves.get("overfit", ()))):
        if len(series) > 1:
            rows.append((label, Text(spark(series, min(CURVE, paper.width - 26), unicode=paper.unicode).rstrip())))
    return paper.pairs(rows)
