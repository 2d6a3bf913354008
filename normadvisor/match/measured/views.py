"""Measurements as expressions see them: a layer and the run as mappings from the words of the vocabulary to numbers.

A word that nothing was measured for is ``None``, since an unknown never makes a rule speak.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from normadvisor.match.measured.profile import Profile
from normadvisor.types import LAYER_FACTS, LAYER_SERIES, RUN_FACTS, RUN_SERIES, LayerMeasurements, Measurements, RunContext, Series

__all__ = ["LayerView", "RunView", "context_view", "views_of"]

_SETUP = {"loss": "loss_name"}
"""Words of the setup that mean something else among the numbers of the run."""
_FACTS = {"dead_share": "always_dead"}
"""Facts of a layer that share their word with a series."""


class LayerView(dict[str, Any]):
    """A layer in expressions; as text it is its name."""

    def __init__(self, layer: LayerMeasurements, derived: Mapping[str, Any]) -> None:
        super().__init__(
            name=layer.name,
            cls=layer.cls,
            op=layer.op,
            order=layer.order,
            calls=layer.calls,
            parameters=layer.parameters,
            trainable=layer.trainable,
            units=layer.units,
            **_series(layer.series, LAYER_SERIES),
            **{_FACTS.get(key, key): layer.facts.get(key) for key in LAYER_FACTS},
            **derived,
        )
        self.layer = layer

    def __str__(self) -> str:
        return self.layer.name or self.layer.cls


class RunView(dict[str, Any]):
    """The run in expressions; as text it is its target."""

    def __init__(self, measurements: Measurements, layers: list[LayerView], derived: Mapping[str, Any]) -> None:
        setup = {_SETUP.get(key, key): value for key, value in measurements.setup.items()}
        super().__init__(
            setup,
            **_series(measurements.series, RUN_SERIES),
            **{key: measurements.facts.get(key) for key in RUN_FACTS},
            **derived,
            layers=layers,
            measured_steps=measurements.steps,
        )
        self.target = measurements.target

    def __str__(self) -> str:
        return self.target


def views_of(measurements: Measurements) -> tuple[list[LayerView], RunView]:
    """Views of the layers in order of execution, and of the run."""
    profile = Profile(measurements)
    ordered = sorted(measurements.layers, key=lambda layer: layer.order)
    layers = [LayerView(layer, profile.of_layer(layer)) for layer in ordered]
    return layers, RunView(measurements, layers, profile.of_run())


def context_view(context: RunContext) -> dict[str, Any]:
    """The run context in expressions."""
    return {
        "batch_size": context.batch_size,
        "task": context.task,
        "loss": context.loss,
        "precision": context.precision,
        "world_size": context.world_size,
        "distributed": context.distributed,
        "fine_tune": context.fine_tune,
        "per_device_batch": context.per_device_batch,
    }


def _series(series: Mapping[str, Series], known: Mapping[str, str]) -> dict[str, Any]:
    """Typical value of every series by its word, with its first, last, smallest and largest value."""
    found: dict[str, Any] = {}
    for key in known:
        values = [value for value in series.get(key, ()) if value is not None]
        finite = sorted(value for value in values if isfinite(value))
        found[key] = _median(finite) if len(finite) == len(values) else _median_of_all(values)
        found[f"{key}_first"] = values[0] if values else None
        found[f"{key}_last"] = values[-1] if values else None
        found[f"{key}_min"] = finite[0] if finite else None
        found[f"{key}_max"] = max(values, key=_magnitude) if values else None
    return found


def _median(ordered: list[float]) -> float | None:
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _median_of_all(values: list[float]) -> float | None:
    """The median where some values are not finite: those that are no number count as infinitely large."""
    ordered = sorted(values, key=_magnitude)
    return ordered[len(ordered) // 2]


def _magnitude(value: float) -> float:
    return value if value == value else float("inf")  # noqa: PLR0124 - NaN
