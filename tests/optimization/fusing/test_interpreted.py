"""Fused models with the kernels themselves, in Triton's interpreter: a process of its own, since it has to be chosen before Triton is imported."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import copy, sys, warnings
import torch
from torch import nn
from normadvisor.fused import why_not_triton
from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Setting
from normadvisor.optimization.fusing.finders import find_fused
from normadvisor.rewrite.model.journal import Journal

warnings.simplefilter("ignore", RuntimeWarning)  # numpy computes what masked lanes hold

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn1, self.bn2, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.gn, self.silu, self.ln = nn.GroupNorm(2, 4), nn.SiLU(), nn.LayerNorm(6)
        self.gate, self.up = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv(x)))
        y = self.relu(self.bn2(self.conv(y)) + x)
        y = self.silu(self.gn(y))
        y = self.ln(y + x)
        return torch.nn.functional.silu(self.gate(y)) * self.up(y)

class Inputs:
    args, kwargs, given = (torch.randn(3, 4, 6, 6),), {}, True

def run(model):
    output = model(*Inputs.args)
    model.zero_grad()
    output.square().mean().backward()
    return [output.detach(), *(parameter.grad for parameter in model.parameters()), *model.buffers()]

torch.manual_seed(0)
Inputs.args = (torch.randn(3, 4, 6, 6),)
assert why_not_triton(*Inputs.args) == "", why_not_triton(*Inputs.args)
model = Model()
graph = trace(model, Inputs, target="model", sites={}, mode="train")
setting = Setting(mode="training", device=torch.device("cpu"), dtype=torch.float32, inputs=Inputs, force=True)
found = [item for item in find_fused(model, graph, setting) if isinstance(item, Candidate)]
fused = copy.deepcopy(model)
for item in found:
    item.apply(fused, Journal())
for one, other in zip(run(model), run(fused), strict=True):
    torch.testing.assert_close(other, one, rtol=2e-4, atol=2e-5)
print(sorted(item.pattern for item in found))
"""


def test_kernels_in_models():
    pytest.importorskip("triton", reason="NOT CHECKED: Triton is not installed, so no kernel runs in a model")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env={**os.environ, "TRITON_INTERPRET": "1"}, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(
        ["add + layer_norm", "batch_norm + add + relu", "batch_norm + relu", "group_norm + silu", "silu * up"]
    )
