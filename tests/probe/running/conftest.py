"""Probes of small models."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.probe.running.run import probe_model
from normadvisor.targets.inputs import Inputs
from normadvisor.types import Measurements, ProbeOptions, RunContext


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs_of(*shapes: tuple[int, ...], given: bool = False) -> Inputs:
    """Inputs as inference makes them."""
    return Inputs(tuple(torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in shapes), given=given)


@pytest.fixture
def probe():
    def run(model: nn.Module, *shapes: tuple[int, ...], context: RunContext | None = None, options=None, **given) -> Measurements:
        chosen = ProbeOptions(**{"steps": 2, "budget": 600.0, "static_only": True, **(options or {})})
        if shapes:
            given["inputs"] = inputs_of(*shapes)
        return probe_model(model, chosen, context=context or RunContext(), **given)

    return run


@pytest.fixture
def conv_net():
    """A small convolutional network with the norm and the extra layer that a test asks for."""

    def make(norm=nn.BatchNorm2d, extra=nn.Identity, seed: int = 0) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3), norm(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), norm(32), nn.ReLU(), extra(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(32, 10),
        )  # fmt: skip

    return make
