"""This run beside another, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.compare import Comparison, Difference
from normadvisor.report.measured.health import Health
from normadvisor.report.measured.numbers import number, share, typical
from normadvisor.report.modules import listed
from normadvisor.report.probe.paper import Paper
from normadvisor.report.probe.table import MOST_CLASS, Column, clipped, rows_of
from normadvisor.report.tally import counted
from normadvisor.types import LayerMeasurements

__all__ = ["comparison_section"]

MOST_ROWS = 12


def comparison_section(comparison: Comparison, paper: Paper) -> Iterator[list[Text]]:
    """What differs: the setup, the numbers of the run, the layers."""
    yield [Text("compared with the other run", style="bold"), *_pairs(comparison, paper)]
    if lines := _layers(comparison, paper):
        yield lines
    only = []
    for words, names in (("only in this run", comparison.only_here), ("only in the other run", comparison.only_there)):
        if names:
            only += paper.wrapped(Text(f"{words}: {listed(names)}"))
    if only:
        yield only


def _pairs(comparison: Comparison, paper: Paper) -> list[Text]:
    rows = [(pair.label, pair.there, pair.here) for pair in (*comparison.setup, *comparison.facts)]
    return paper.pairs([(one_line(label), _change(one_line(there), one_line(here))) for label, there, here in rows])


def _change(there: str, here: str) -> Text:
    return Text(here) if here == there else Text.assemble((there, "dim"), " \u2192 ", (here, "bold"))


def _layers(comparison: Comparison, paper: Paper) -> list[Text]:
    different = comparison.most_different
    if not different:
        return [Text(f"{counted(len(comparison.layers), 'layer')} within 5 % of the other run")] if comparison.layers else []
    shown = different[:MOST_ROWS]
    by_name = {item.here.name: item for item in shown}
    columns = [
        Column("", lambda layer: clipped(one_line(layer.cls), MOST_CLASS, unicode=paper.unicode), 0, right=False),
        Column("grad rms", lambda layer: _ratio(by_name[layer.name], "grad_rms"), 9),
        Column("update", lambda layer: _ratio(by_name[layer.name], "update_ratio"), 8),
        Column("out std", lambda layer: _ratio(by_name[layer.name], "act_std"), 7),
        Column("weights", lambda layer: _ratio(by_name[layer.name], "weight_norm"), 5),
        Column("dead", lambda layer: _shares(by_name[layer.name], "dead_share"), 6),
        Column("saturated", lambda layer: _shares(by_name[layer.name], "saturated_share"), 4),
    ]
    nothing = {"", number(None), share(0.0)}
    layers: list[LayerMeasurements] = [item.here for item in shown]
    columns = [column for column in columns if any(column.text(layer).strip() not in nothing for layer in layers)]
    lines = rows_of(layers, columns, Health(), paper)
    rest = len(different) - len(shown)
    more = paper.wrapped(Text(f"and {counted(rest, 'more layer')} that differ less", style="dim")) if rest else []
    return [*paper.wrapped(Text("layers that differ most: this run over the other", style="bold")), *lines, *more]


def _ratio(item: Difference, key: str) -> str:
    ratio = item.ratio(key)
    return number(None) if ratio is None else f"\u00d7{number(ratio)}"


def _shares(item: Difference, key: str) -> str:
    here, there = typical(item.here, key), typical(item.there, key)
    if here is None and there is None:
        return number(None)
    return share(here) if here == there else f"{share(there)} \u2192 {share(here)}"
