from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.fusing.places import Place, places


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn1, self.bn2, self.bn3, self.gn = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.relu, self.drop, self.ln, self.gate, self.up = nn.ReLU(), nn.Dropout(0.5), nn.LayerNorm(5), nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x):
        y = self.relu(self.bn1(x))
        y = self.relu(self.bn2(y) + self.bn3(x))
        y = F.silu(self.drop(self.gn(y)))
        y = self.ln(y + x)
        return F.gelu(self.gate(y)) * self.up(y)


class Inputs:
    args = (torch.randn(2, 4, 5, 5),)
    kwargs: ClassVar[dict] = {}
    given = True


def found(mode):
    return list(places(trace(Model(), Inputs, target="model", sites={}, mode=mode)))


def test_places_of_both_rules():
    common = [
        Place("NA702", "batch_norm + relu", ("bn1", "relu")),
        Place("NA702", "batch_norm + add + relu", ("bn2", "relu")),
    ]
    rows = [Place("NA703", "add + layer_norm", ("ln",)), Place("NA703", "gelu * up", ("",))]
    assert found("train") == [*common, *rows]
    assert found("eval") == [*common, Place("NA702", "group_norm + silu", ("gn", "")), *rows]
