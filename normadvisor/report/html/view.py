"""Everything the templates show of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from normadvisor.report.clean import one_line
from normadvisor.report.html.curves import Level, curve_plot
from normadvisor.report.html.depth import Depth, DepthPlot, Reference, depth_plot
from normadvisor.report.html.differences import ComparisonView, comparison_view
from normadvisor.report.html.heat import LEVELS, heat_map
from normadvisor.report.html.layers import LayerTable, hover_data, layer_table
from normadvisor.report.html.tree import Tree, module_tree
from normadvisor.report.measured.compare import compare_runs, other_run
from normadvisor.report.measured.health import findings_of, health_of, weight_gradients, zones
from normadvisor.report.measured.numbers import loss, share
from normadvisor.report.measured.stages import stages
from normadvisor.report.measured.words import RunFact, missing_words, other_facts, run_facts, setup_pairs, setup_words
from normadvisor.types import GROUPS, Measurements, Report, Severity

__all__ = ["Chart", "ModelView", "model_view"]

USUAL_UPDATE = Reference(1e-4, 1e-1, "usual: 10\u207b\u2074 to 10\u207b\u00b9")
"""log10 of a healthy update ratio is between -4 and -1, most often -3 (Karpathy, 2022, makemore part 3)."""


class Chart(NamedTuple):
    """A chart with its title."""

    title: str
    hint: str
    plot: DepthPlot | None
    """``None`` where the hint says all."""
    kind: str = "curve"
    """``curve``, ``heat`` or ``said``."""


class ModelView(NamedTuple):
    """One model, ready to be put on the page."""

    anchor: str
    target: str
    setup_words: str
    notes: list[str]
    facts: list[RunFact]
    depth: list[Chart]
    curves: list[Chart]
    tree: Tree
    table: LayerTable
    setup: list[tuple[str, str]]
    other: list[tuple[str, str, str]]
    """Further facts: name, value, meaning."""
    missing: list[tuple[str, str]]
    hover: dict[str, Any]
    has_rings: bool
    has_zones: bool
    has_broken: bool
    """Whether some chart marks numbers that are not finite."""
    has_zero: bool
    comparison: ComparisonView | None


def model_view(
    report: Report,
    measured: Measurements,
    anchor: str,
    anchors: Mapping[int, str],
    compare: Measurements | Sequence[Measurements] | None,
) -> ModelView:
    """Charts, tree and tables of a model.

    Args:
        report: for the findings about it.
        measured: its measurements.
        anchor: where it stands on the page.
        anchors: where findings stand on the page, by their identity.
        compare: other runs.

    """
    findings = findings_of(report, measured)
    health = health_of(findings)
    parts = stages([one_line(layer.name) for layer in measured.layers])
    bad = [finding for finding in findings if finding.severity is not Severity.INFO]
    depth = Depth(layers=measured.layers, parts=parts, zones=zones(measured.layers, bad), health=health)
    other = other_run(measured, compare)
    charts = _depth_charts(depth)
    return ModelView(
        anchor=anchor,
        target=one_line(measured.target) or "model",
        setup_words=setup_words(measured),
        notes=[one_line(note) for note in measured.notes],
        facts=run_facts(measured),
        depth=charts,
        curves=_curves(measured),
        tree=module_tree(measured.layers, health),
        table=layer_table(measured, health, anchors),
        setup=setup_pairs(measured.setup),
        other=other_facts(measured),
        missing=missing_words(measured),
        hover=hover_data(measured, health),
        has_rings=any(layer.op in GROUPS["norm"] and layer.series.get("grad_norm") for layer in measured.layers),
        has_zones=bool(depth.zones),
        has_broken=_marks(charts, "broken"),
        has_zero=_marks(charts, "zero"),
        comparison=None if other is None else comparison_view(compare_runs(measured, other), depth),
    )


def _marks(charts: Sequence[Chart], cls: str) -> bool:
    return any(f'class="{cls}"' in chart.plot.plot for chart in charts if chart.plot)


_DEPTH = (
    ("grad_norm", "Gradient norm", "of each layer\u2019s weights (L2), before clipping", 190, None),
    ("act_grad_rms", "Gradient at the outputs", "root mean square, as it flows back", 110, None),
    ("act_std", "Spread of the outputs", "standard deviation, as it flows forward", 110, None),
    ("update_ratio", "Update ratio", "change of the weights in a step over the weights", 120, USUAL_UPDATE),
    ("bn_mean_gap", "Batch against running statistics", "distance of the means in running standard deviations", 90, None),
)
_HEAT = (
    ("dead_share", "Dead units", "share that is zero for the whole batch, by layer and step"),
    ("saturated_share", "Saturated values", "share in the flat part of the activation, by layer and step"),
)


def _depth_charts(depth: Depth) -> list[Chart]:
    charts: list[Chart] = []
    weights = replace(depth, layers=[weight_gradients(layer) for layer in depth.layers])
    for key, title, hint, height, reference in _DEPTH:
        description = f"{title}: {hint}; by depth, logarithmic. The table of layers has the numbers."
        if (plot := depth_plot(weights, key, description, height=height, reference=reference, labelled=not charts)) is not None:
            charts.append(Chart(title, hint, plot))
    noise = _as_series(depth, "bn_noise")
    description = "Noise of batch statistics: how far a sample\u2019s output moves with the rest of its batch; by depth, logarithmic."
    if (plot := depth_plot(noise, "bn_noise", description, height=90)) is not None:
        charts.append(Chart("Noise of batch statistics", "how far an output moves with its batch, in standard deviations", plot))
    for key, title, hint in _HEAT:
        if (plot := heat_map(depth, key, f"{title}: {hint}. The table of layers has the numbers.")) is not None:
            charts.append(Chart(title, hint, plot, "heat"))
        elif any(value is not None for layer in depth.layers for value in layer.series.get(key, ())):
            charts.append(Chart(title, f"below {share(LEVELS[0])} in every layer and step", None, "said"))
    return charts


def _as_series(depth: Depth, fact: str) -> Depth:
    """The axis with a fact of each layer as a series of one number."""
    layers = []
    for layer in depth.layers:
        value = layer.facts.get(fact)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        layers.append(replace(layer, series={fact: (float(value),)} if known and isinstance(value, int | float) else {}))
    return replace(depth, layers=layers)


def _curves(measured: Measurements) -> list[Chart]:
    expected = measured.facts.get("expected_initial_loss")
    level = Level(float(expected), f"knows nothing: {loss(float(expected))}") if isinstance(expected, int | float) else None
    floor = measured.facts.get("overfit_floor")
    bottom = Level(float(floor), f"at best {loss(float(floor))}") if isinstance(floor, int | float) and floor else None
    found = (
        ("Loss", "before each step\u2019s update",
         curve_plot(measured.series.get("loss", ()), "Loss by step.", unit="step", level=level)),
        ("Overfitting one batch", "loss by iteration",
         curve_plot(measured.curves.get("overfit", ()), "Loss of one batch by iteration.", unit="iteration", level=bottom)),
        ("Gradient norm of the step", "before clipping",
         curve_plot(measured.series.get("grad_norm", ()), "Gradient norm of all parameters by step.", unit="step")),
    )  # fmt: skip
    return [Chart(title, hint, plot) for title, hint, plot in found if plot is not None]
