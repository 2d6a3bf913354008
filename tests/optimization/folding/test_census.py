from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.folding.census import census
from normadvisor.targets.inputs import Inputs


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)
        self.first, self.second, self.last = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm1d(4)

    def forward(self, x):
        x = self.first(self.a(x)).relu()
        x = self.second(x) + self.b(x)
        return self.head(self.last(x.relu().mean((2, 3))))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counts_pairs_and_says_why_not(device):
    with torch.device(device):
        model, x = Net().eval(), torch.zeros(2, 3, 8, 8)
    counted = census(model, trace(model, Inputs(args=(x,), given=True), target="", sites={}, mode="eval"))
    assert counted.pairs == (("a", "first"), ("head", "last"))
    assert [(each.name, each.reason) for each in counted.refused] == [("second", "relu stands before it, not a layer with weights")]
