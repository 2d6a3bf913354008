"""Measurements and findings to log."""

from __future__ import annotations

import math

from normadvisor.types import Confidence, Finding, LayerMeasurements, Measurements, Severity

NAN_AND_INFINITE = Measurements(
    target="net",
    layers=(
        LayerMeasurements(name="conv1", cls="Conv2d", order=0, series={"grad_norm": (0.1, None), "act_mean": (1 / 3, math.nan)}),
        LayerMeasurements(name="", cls="Net", order=1, series={"grad_norm": (math.inf, 2e-300)}),
        LayerMeasurements(name="never", cls="ReLU", order=2),
    ),
    series={"loss": (2.5, math.nan), "grad_norm": (1.0, None)},
    curves={"overfit": (3.0, 2.0, 1.0)},
)

FINDING = Finding(
    rule="NA601", name="vanishing-gradient", severity=Severity.WARNING, confidence=Confidence.CONFIRMED,
    message="the gradient fades", modules=("conv1", "conv2"),
)  # fmt: skip
