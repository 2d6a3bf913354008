"""Differences of two runs of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from normadvisor.report.measured.numbers import number, typical
from normadvisor.report.measured.words import run_facts, setup_pairs
from normadvisor.types import LayerMeasurements, Measurements

__all__ = ["RATIO_KEYS", "Comparison", "Difference", "FactPair", "compare_runs", "other_run"]

RATIO_KEYS = ("grad_rms", "update_ratio", "act_std", "weight_norm")
"""Numbers of a layer whose ratio is looked at; shares are subtracted instead."""
ALIKE = math.log10(1.05)
"""Powers of ten that numbers of two runs may lie apart and still count as alike: 5 %."""
SHARE_KEYS = ("dead_share", "saturated_share")


@dataclass(frozen=True, slots=True)
class FactPair:
    """Something about a run, in both runs."""

    label: str
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One layer that both runs have."""

    here: LayerMeasurements
    there: LayerMeasurements

    def ratio(self, key: str) -> float | None:
        """Typical number of this run over that of the other; ``None`` where either is missing, zero or not finite."""
        here, there = typical(self.here, key), typical(self.there, key)
        if here is None or there is None or not (math.isfinite(here) and math.isfinite(there)) or here <= 0 or there <= 0:
            return None
        ratio = here / there if there >= 1e-300 else math.inf
        return ratio if 0 < ratio < math.inf else None

    def change(self, key: str) -> float | None:
        """Typical share of this run minus that of the other."""
        here, there = typical(self.here, key), typical(self.there, key)
        if here is None or there is None or not (math.isfinite(here) and math.isfinite(there)):
            return None
        return here - there

    @property
    def size(self) -> float:
        """How different the layer is: the largest change in powers of ten, a whole share counting as one."""
        logs = [abs(math.log10(ratio)) for key in RATIO_KEYS if (ratio := self.ratio(key)) is not None]
        shares = [abs(change) for key in SHARE_KEYS if (change := self.change(key)) is not None]
        return max([*logs, *shares], default=0.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """This run beside another."""

    here: Measurements
    there: Measurements
    setup: tuple[FactPair, ...]
    """What was set up differently."""
    facts: tuple[FactPair, ...]
    """Numbers of the runs, equal ones included."""
    layers: tuple[Difference, ...]
    """Layers of both runs, in order of execution."""
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]

    @property
    def most_different(self) -> list[Difference]:
        """Layers that differ by more than :data:`ALIKE`, the most different first."""
        return sorted((item for item in self.layers if item.size > ALIKE), key=lambda item: (-item.size, item.here.order))


def other_run(measured: Measurements, runs: Measurements | Sequence[Measurements] | None) -> Measurements | None:
    """The run to compare a model with: the one of its target, or the only one there is."""
    if runs is None:
        return None
    found = [runs] if isinstance(runs, Measurements) else list(runs)
    same = [run for run in found if run.target == measured.target]
    return same[0] if same else found[0] if len(found) == 1 else None


def compare_runs(here: Measurements, there: Measurements) -> Comparison:
    """Pair the layers of two runs by name, and what is known of the runs."""
    others = {layer.name: layer for layer in there.layers}
    names = {layer.name for layer in here.layers}
    return Comparison(
        here,
        there,
        _setup(here, there),
        _facts(here, there),
        tuple(Difference(layer, others[layer.name]) for layer in here.layers if layer.name in others),
        tuple(layer.name for layer in here.layers if layer.name not in others),
        tuple(layer.name for layer in there.layers if layer.name not in names),
    )


def _setup(here: Measurements, there: Measurements) -> tuple[FactPair, ...]:
    ours, theirs = dict(setup_pairs(here.setup)), dict(setup_pairs(there.setup))
    keys = [*ours, *(key for key in theirs if key not in ours)]
    missing = number(None)
    pairs = [FactPair(key, ours.get(key, missing), theirs.get(key, missing)) for key in keys if ours.get(key) != theirs.get(key)]
    if here.target != there.target:
        pairs.insert(0, FactPair("model", here.target, there.target))
    return tuple(pairs)


def _facts(here: Measurements, there: Measurements) -> tuple[FactPair, ...]:
    ours = {fact.label: fact.value for fact in run_facts(here)}
    theirs = {fact.label: fact.value for fact in run_facts(there)}
    missing = number(None)
    labels = [*ours, *(label for label in theirs if label not in ours)]
    return tuple(FactPair(label, ours.get(label, missing), theirs.get(label, missing)) for label in labels)
