"""Which layers findings speak of, and which layers a reader should see first. Nothing is judged here: that is the rules' business."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

from normadvisor.report.measured.numbers import typical
from normadvisor.types import GROUPS, Finding, LayerMeasurements, Measurements, Report, Severity, Withdrawn

__all__ = ["Health", "Zone", "findings_of", "health_of", "weight_gradients", "withdrawn_of", "worst_first", "zones"]

NEAR = 4
"""Layers before and after that a layer is compared with."""
_NORMS = frozenset(GROUPS["norm"])
MEASURED = "NA6"
"""Rules about measurements begin with it."""


@dataclass(frozen=True, slots=True)
class Health:
    """What findings say about the layers of one model."""

    by_layer: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    """Findings that name the layer, by its name, the worst first; layers without any are missing."""

    def severity(self, name: str) -> Severity | None:
        """The worst that is said of a layer."""
        found = self.by_layer.get(name)
        return found[0].severity if found else None

    def rules(self, name: str) -> list[str]:
        """Ids of the rules that speak of a layer, the worst first."""
        return list(dict.fromkeys(finding.rule for finding in self.by_layer.get(name, ())))


@dataclass(frozen=True, slots=True)
class Zone:
    """A run of layers, by position, that findings of one rule speak of."""

    first: int
    last: int
    severity: Severity
    rule: str


def findings_of(report: Report, measured: Measurements) -> tuple[Finding, ...]:
    """Findings about a model; those that name no model belong to all of them. The worst first, measured ones before others."""
    found = [finding for finding in report.active if finding.model in {measured.target, None}]
    return tuple(sorted(found, key=lambda finding: (-finding.severity.rank, not finding.rule.startswith(MEASURED), finding.rule)))


def withdrawn_of(report: Report, measured: Measurements) -> tuple[Withdrawn, ...]:
    """Findings about a model that its measurements contradict."""
    return tuple(item for item in report.withdrawn if item.finding.model in {measured.target, None})


def health_of(findings: Iterable[Finding]) -> Health:
    """Findings by the layers they name, in their order."""
    by_layer: dict[str, list[Finding]] = {}
    for finding in findings:
        for name in dict.fromkeys(finding.modules):
            by_layer.setdefault(name, []).append(finding)
    return Health({name: tuple(found) for name, found in by_layer.items()})


def zones(layers: Sequence[LayerMeasurements], findings: Iterable[Finding]) -> list[Zone]:
    """Runs of layers that warnings and errors speak of, in order and without overlap: where several do, the worst counts.

    Layers without parameters do not interrupt a run.
    """
    place = {layer.name: position for position, layer in enumerate(layers)}
    worst: dict[int, Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity.rank):
        if finding.severity is not Severity.INFO:
            for position in _covered(layers, sorted({place[name] for name in finding.modules if name in place})):
                worst.setdefault(position, finding)
    found: list[Zone] = []
    for position, finding in sorted(worst.items()):
        if found and found[-1].last == position - 1 and (found[-1].rule, found[-1].severity) == (finding.rule, finding.severity):
            found[-1] = replace(found[-1], last=position)
        else:
            found.append(Zone(position, position, finding.severity, finding.rule))
    return found


def _covered(layers: Sequence[LayerMeasurements], positions: Sequence[int]) -> Iterator[int]:
    """The positions, and those between two of them where no layer with parameters stands between."""
    yield from positions
    for position, following in pairwise(positions):
        if not any(layer.parameters for layer in layers[position + 1 : following]):
            yield from range(position + 1, following)


def weight_gradients(layer: LayerMeasurements) -> LayerMeasurements:
    """The layer with the gradient of its weights alone in place of that of all its parameters, where both are known.

    Gradients of biases do not fade with depth as those of weights do, and would hide it.
    """
    series = layer.series.get("weight_grad_norm", ())
    if all(value is None for value in series):
        return layer
    return replace(layer, series={**layer.series, "grad_norm": series})


def worst_first(measured: Measurements, health: Health) -> list[LayerMeasurements]:
    """Layers in the order a reader should see them.

    Those that findings speak of come first, by severity and depth; the others follow by how far their numbers are off those of their likes.
    """
    trends = [_off_trend(measured.layers, key) for key in ("grad_rms", "update_ratio", "act_std")]

    def key(layer: LayerMeasurements) -> tuple[int, float, int]:
        severity = health.severity(layer.name)
        if severity is not None:
            return -severity.rank, 0.0, layer.order
        return 1, -max(_oddness(layer), *(trend.get(layer.name, -1.0) for trend in trends)), layer.order

    return sorted(measured.layers, key=key)


def _oddness(layer: LayerMeasurements) -> float:
    """How unusual a layer is by itself, 1 for all of its units; serves for ordering alone."""
    if any(value and value > 0 for key in ("nonfinite", "grad_nonfinite") for value in layer.series.get(key, ())):
        return math.inf
    shares = [typical(layer, key) for key in ("dead_share", "saturated_share")]
    return max((value for value in shares if value is not None and math.isfinite(value)), default=-1.0)


def _off_trend(layers: Sequence[LayerMeasurements], key: str) -> dict[str, float]:
    """Powers of ten between a layer's number and what the nearest layers of its kind let expect, by name.

    A straight line through neighbours (Theil 1950, Sen 1968: medians, which one other outlier does not move), so that a trend along
    the depth makes no layer stand out; of the same kind, since norms, weights and activations differ by nature.
    """
    kinds: dict[str, list[tuple[str, float]]] = {}
    for layer in layers:
        value = typical(layer, key)
        if value is not None and math.isfinite(value) and value > 0:
            kind = "norm" if layer.op in _NORMS else "weights" if layer.parameters else "other"
            kinds.setdefault(kind, []).append((layer.name, math.log10(value)))
    off = {}
    for found in kinds.values():
        for position, (name, value) in enumerate(found):
            near = range(max(0, position - NEAR), min(len(found), position + NEAR + 1))
            around = [(index - position, found[index][1]) for index in near if index != position]
            if len(around) >= NEAR:
                slope = median((after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(around))
                off[name] = abs(value - median(other - slope * distance for distance, other in around))
    return off
