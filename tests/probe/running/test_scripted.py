"""Models that went through ``torch.jit``: gradients are measured, outputs inside are not."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize("scripted", [torch.jit.script, lambda model: torch.jit.trace(model, torch.randn(2, 8))])
@pytest.mark.parametrize("loss", [nn.functional.cross_entropy, None])
def test_gradients_of_scripted_models_are_those_of_the_model(probe, scripted, loss):
    batch = (torch.randn(16, 8, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and in use
        model = scripted(_net())
    found = probe(model, batches=[batch], loss_fn=loss)
    expected = probe(_net(), batches=[batch], loss_fn=nn.functional.cross_entropy)
    norms = {layer.name: layer.series["grad_norm"] for layer in expected.layers if layer.parameters}
    assert {layer.name: pytest.approx(layer.series["grad_norm"], rel=1e-5) for layer in found.layers} == norms
    assert found.facts["restored"] is True
    assert "Outputs of scripted modules are not measured: they take no hooks. Their gradients are." in found.notes
