"""Measured models made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from normadvisor.types import LayerMeasurements, Location, Measurements


def chain(influences: Sequence[Sequence[float | None]], *, op: str = "linear", loss: Sequence[float] | None = None, **facts: Any) -> Measurements:
    """A chain of layers with weights of norm 2; of each the gradient norm times two, by step.

    Args:
        influences: by layer, then by step.
        op: canonical operation of all layers.
        loss: by step; 1 in every step by default.
        **facts: of the run.

    """
    steps = len(influences[0]) if influences else 0
    layers = tuple(
        LayerMeasurements(
            name=f"layers.{index}",
            cls="Linear",
            op=op,
            order=index,
            parameters=6,
            trainable=6,
            units=2,
            location=Location("net.py", 10 + index),
            series={
                "weight_norm": (2.0,) * steps,
                "weight_grad_norm": tuple(None if value is None else value / 2 for value in values),
                "act_std": (float(2**index),) * steps,
            },
        )
        for index, values in enumerate(influences)
    )
    return Measurements(target="net.py:Net", layers=layers, series={"loss": tuple(loss or (1.0,) * steps)}, facts=facts)


@pytest.fixture(name="chain")
def chain_fixture() -> Any:
    """:func:`chain`, for tests."""
    return chain


RULE: Mapping[str, str] = {
    "layer": """\
id: AC001
name: small-rule
severity: warning
scope: probe
summary: A layer with a small output
why: Because.
references:
  - title: A book
pattern:
  layer: layer
  op: linear
  where: layer.act_std < 3
message: "{layer.name} to {layer_all[-1].name}: {matches} of {probe.weight_layers}"
evidence: {act_std: layer.act_std, largest: probe.grad_norm}
fix: {applicability: display, description: "mend {layer.name}"}
examples:
  bad:
    - code: x = 1
      expect: [1]
  good:
    - code: y = 1
""",
}


@pytest.fixture
def rule_text() -> str:
    """A rule about layers that other tests change one thing of."""
    return RULE["layer"]
