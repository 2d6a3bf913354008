"""The numbers behind NA613: how many rows of attention are one-hot, by the scale of the scores."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.running.run import probe_model
from normadvisor.types import ProbeOptions, RunContext


class Attention(nn.Module):
    def __init__(self, std: float | None, width: int = 256) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        if std is not None:
            nn.init.normal_(self.query.weight, std=std)
            nn.init.normal_(self.key.weight, std=std)

    def forward(self, x):
        h = self.norm(x)
        weights = (self.query(h) @ self.key(h).transpose(1, 2)).softmax(-1)
        return self.head((x + weights @ self.value(h)).mean(1))


@pytest.mark.parametrize(
    ("std", "least", "most", "rules"), [(None, 0.0, 0.2, []), (1 / 16, 0.0, 0.6, []), (0.2, 0.85, 1.0, ["NA613"]), (1.0, 0.98, 1.0, ["NA613"])]
)
def test_scores_that_are_not_divided(nets, std, least, most, rules):
    inputs = torch.randn(8, 20, 256, generator=torch.Generator().manual_seed(0))
    options = ProbeOptions(steps=1, budget=600.0, static_only=True)
    measured = probe_model(Attention(std), options, batches=[(inputs, torch.arange(8))], loss_fn=F.cross_entropy, context=RunContext())
    assert least <= measured.facts["attention_peak"] <= most
    assert nets.warned(measured, ("NA613",)) == rules
