from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from normadvisor.probe.recording.recorder import Recorder
from normadvisor.types import LayerMeasurements


class Recorded:
    """A recorder after its steps, with its layers by name."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.layers = {layer.name: layer for layer in recorder.layers()}

    def __getitem__(self, name: str) -> LayerMeasurements:
        return self.layers[name]

    def all(self, key: str) -> dict[str, Any]:
        """One series of all layers that have it, the only step's number each."""
        found = {}
        for name, layer in self.layers.items():
            if key in layer.series:
                (found[name],) = layer.series[key]
        return found


@pytest.fixture
def record() -> Callable[..., Recorded]:
    """Record steps of a model; ``loss(model)`` is called in each. Without an optimizer the weights stay."""

    def run(model: nn.Module, loss: Callable[[nn.Module], torch.Tensor], *, steps: int = 1, optimizer: Any = None, scale: float = 1.0, **options: Any) -> Recorded:
        recorder = Recorder(model, **options)
        with recorder:
            for _ in range(steps):
                model.zero_grad(set_to_none=True)
                recorder.begin_step()
                (loss(model) * scale).backward()
                recorder.after_backward(scale)
                if optimizer is not None:
                    optimizer.step()
                recorder.end_step()
        return Recorded(recorder)

    return run


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
