"""Numbers that compare the layers of one model with one another, so that neither the scale of the loss nor the depth decides."""

from __future__ import annotations

from typing import Any

from normadvisor.types import LayerMeasurements, Measurements

__all__ = ["Profile"]


class Profile:
    """What follows from all layers together."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements

    def of_layer(self, layer: LayerMeasurements) -> dict[str, Any]:
        """Derived numbers of one layer."""
        return {}

    def of_run(self) -> dict[str, Any]:
        """Derived numbers of the run."""
        return {}
