from __future__ import annotations

import subprocess
import sys

import pytest

TRACE = """
import sys, torch
from torch import nn
from normadvisor.graph import trace
class Given:
    args, kwargs, given = (torch.zeros(2, 3, 8, 8),), {}, True
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.Softplus())
trace(model, Given(), target="m", sites={})
assert "torch._dynamo" not in sys.modules, "the compiler was imported"
"""

IMPORT = """
import sys, torch
from normadvisor.graph.light import without_compiler
x = torch.zeros(2, device="meta")
with without_compiler():
    x + x
    import torch._dynamo.config
    assert torch._dynamo.config.cache_size_limit
    torch.relu(x)
assert torch.compile(lambda a: a + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
assert (x + x).shape == (2,)
"""

KEPT = """
import sys
from torch._compile import _disable_dynamo
from normadvisor.graph.light import without_compiler
double = _disable_dynamo(lambda number: number * 2)
with without_compiler():
    assert double(2) == 4
    assert "config" not in vars(sys.modules["torch._dynamo"]), "the compiler was imported"
import torch._dynamo
assert double(3) == 6
"""

NAMES = """
import sys
from normadvisor.graph.model import ModelGraph
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("code", [TRACE, IMPORT, KEPT, NAMES])
def test_what_is_imported(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
