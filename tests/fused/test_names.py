"""Public names are loaded on demand, and need neither Triton nor a GPU."""

from __future__ import annotations

import subprocess
import sys

import pytest

from normadvisor import fused


@pytest.mark.parametrize("name", fused.__all__)
def test_every_name_is_there(name):
    assert getattr(fused, name) is not None
    assert name in dir(fused)


def test_there_are_no_others():
    with pytest.raises(AttributeError, match="has no attribute 'FusedNorm'"):
        _ = fused.FusedNorm


def test_nothing_needs_triton():
    script = """
import sys
sys.modules["triton"] = None
from normadvisor import fused
import torch
for name in fused.__all__:
    getattr(fused, name)
assert fused.FusedGroupNormAct(2, 4, act="silu")(torch.ones(1, 4, 3)).shape == (1, 4, 3)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    subprocess.run([sys.executable, "-c", "import sys, normadvisor.fused; assert not {'torch', 'triton'} & set(sys.modules)"], check=True)
