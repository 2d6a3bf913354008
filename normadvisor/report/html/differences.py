"""This run beside another, as it stands on the page."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from normadvisor.report.clean import one_line
from normadvisor.report.html.depth import Depth, DepthPlot, Reference, depth_plot
from normadvisor.report.html.tree import shortened
from normadvisor.report.measured.compare import Comparison, Difference, FactPair
from normadvisor.report.measured.numbers import number, share, typical
from normadvisor.report.modules import listed
from normadvisor.report.tally import counted

__all__ = ["ComparisonView", "comparison_view"]

MOST_ROWS = 25
EQUAL = Reference(1.0, 1.0, "equal")
_RATIOS = (("Gradient RMS", "grad_rms"), ("Update ratio", "update_ratio"), ("Output std", "act_std"), ("Weight norm", "weight_norm"))
_SHARES = (("Dead", "dead_share"), ("Saturated", "saturated_share"))


class ComparisonView(NamedTuple):
    """Another run, ready to be put on the page."""

    setup: tuple[FactPair, ...]
    facts: tuple[FactPair, ...]
    chart: DepthPlot | None
    titles: list[str]
    rows: list[tuple[str, str, list[str]]]
    """Name, class and numbers of the layers that differ most."""
    rest: list[str]
    """How many layers differ less, and how many hardly, in words."""
    only_here: str
    only_there: str


def comparison_view(comparison: Comparison, depth: Depth) -> ComparisonView:
    """What differs, with a chart of the ratio of gradients by depth."""
    different = comparison.most_different
    shown = different[:MOST_ROWS]
    columns = [title for title, _key in (*_RATIOS, *_SHARES)]
    cells = [[_ratio(item, key) for _title, key in _RATIOS] + [_shares(item, key) for _title, key in _SHARES] for item in shown]
    kept = [index for index in range(len(columns)) if any(row[index] not in {"", share(0.0)} for row in cells)]
    rows = [
        (shortened(item.here.name) or "the model itself", shortened(item.here.cls, 40), [row[index] for index in kept])
        for item, row in zip(shown, cells, strict=True)
    ]
    return ComparisonView(
        tuple(FactPair(one_line(pair.label), one_line(pair.here), one_line(pair.there)) for pair in comparison.setup),
        comparison.facts, _chart(comparison, depth), [columns[index] for index in kept], rows,
        _rest(len(different) - len(shown), len(comparison.layers) - len(different)),
        _names(comparison.only_here), _names(comparison.only_there),
    )  # fmt: skip


def _rest(less: int, alike: int) -> list[str]:
    words = [f"{counted(less, 'more layer')} with smaller differences."] if less else []
    return [*words, f"{counted(alike, 'layer')} within 5\u00a0% of the other run."] if alike else words


def _names(names: tuple[str, ...]) -> str:
    return listed(names, 6) if names else ""


def _chart(comparison: Comparison, depth: Depth) -> DepthPlot | None:
    ratios = {item.here.name: item.ratio("grad_rms") for item in comparison.layers}
    layers = [replace(layer, series={"ratio": (ratios.get(layer.name),)}) for layer in depth.layers]
    words = "Gradient RMS of this run over that of the other, by depth, logarithmic. The table below has the numbers."
    return depth_plot(replace(depth, layers=layers, zones=()), "ratio", words, height=130, reference=EQUAL)


def _ratio(item: Difference, key: str) -> str:
    ratio = item.ratio(key)
    return "" if ratio is None else f"\u00d7{number(ratio)}"


def _shares(item: Difference, key: str) -> str:
    here, there = typical(item.here, key), typical(item.there, key)
    if here is None and there is None:
        return ""
    return share(here) if here == there else f"{share(there)} \u2192 {share(here)}"
