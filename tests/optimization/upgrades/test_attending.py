import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Setting
from normadvisor.optimization.upgrades.finders import find_upgrades
from normadvisor.rewrite.model.journal import Journal


class Widened(nn.Module):
    """Scores and their softmax in float32 whatever the dtype of the model."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        scores = (q.float() @ k.float().transpose(-2, -1)) / math.sqrt(4)
        return scores.softmax(-1).type_as(v) @ v


class Filled(Widened):
    """The least number of the dtype stands where there is no attention."""

    def __init__(self):
        super().__init__()
        self.register_buffer("prefix", torch.ones(6, 6).triu(2).bool())

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(4)
        scores = scores.masked_fill(self.prefix, torch.finfo(scores.dtype).min)
        return scores.softmax(-1) @ v


@pytest.mark.parametrize("cls", [Widened, Filled])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-6), (torch.bfloat16, 0.02)])
def test_what_was_found_in_one_dtype_runs_in_others(cls, dtype, tolerance):
    torch.manual_seed(0)
    model, x = cls().eval(), torch.randn(2, 6, 8)
    inputs = SimpleNamespace(args=(x,), kwargs={}, given=True)
    graph = trace(model, inputs, target="model", sites={}, mode="eval")
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=x.dtype, inputs=inputs)
    changed = copy.deepcopy(model)
    (found,) = find_upgrades(model, graph, setting)
    found.apply(changed, Journal())
    expected, actual = model.to(dtype)(x.to(dtype)), changed.to(dtype)(x.to(dtype))
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
