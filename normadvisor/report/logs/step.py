"""What is logged of one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from normadvisor.types import Finding, Measurements, Series

__all__ = ["WHOLE_MODEL", "StepNumbers", "steps_of"]

WHOLE_MODEL: Final = "(model)"
"""What a layer is called in a log that is the whole model and has no name of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNumbers:
    """Numbers of one step of one model; ``None`` where nothing was measured, infinite or not a number where that was measured."""

    step: int
    """Optimizer steps before this one."""
    model: str = ""
    """Which model, where several are logged to one place."""
    run: Mapping[str, float | None] = field(default_factory=dict)
    """By key of :data:`normadvisor.types.RUN_SERIES` or :data:`normadvisor.types.CURVES`."""
    layers: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """By name of the layer, empty for the model itself, then by key of :data:`normadvisor.types.LAYER_SERIES`."""
    findings: tuple[Finding, ...] = ()
    """What rules said for the first time at this step."""


def steps_of(measurements: Measurements) -> Iterator[StepNumbers]:
    """The numbers of a probe by step, curves beside them by iteration."""
    run = {**measurements.series, **measurements.curves}
    every = [*run.values(), *(values for layer in measurements.layers for values in layer.series.values())]
    for step in range(max(map(len, every), default=0)):
        layers = {layer.name: _at(layer.series, step) for layer in measurements.layers}
        yield StepNumbers(
            step=step,
            model=measurements.target,
            run=_at(run, step),
            layers={name: numbers for name, numbers in layers.items() if numbers},
        )


def _at(series: Mapping[str, Series], step: int) -> dict[str, float | None]:
    return {key: value for key, values in series.items() if step < len(values) and (value := values[step]) is not None}
