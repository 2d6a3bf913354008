"""What a call costs where torch's own operations run: counted in Python functions called, which does not depend on the machine as time does."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor import fused


def composed(norm, forward):
    """A layer as it is written without fused ones: a norm, and what stands around it."""
    layer = type("Composed", (nn.Module,), {"forward": forward})()
    layer.norm = norm
    return layer


def calls(function, arguments) -> int:
    """How many Python functions run in a call, after a first one that may look something up once."""
    function(*arguments)
    found = []

    def note(frame, event, _):
        if event == "call":
            found.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return len(found)


X, ADDED = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
WEIGHT, BIAS = torch.ones(8), torch.zeros(8)


def norm_and(activation):
    return lambda self, x: activation(self.norm(x))


def sum_and_norm(self, x, residual):
    total = x + residual
    return self.norm(total), total


@pytest.mark.parametrize("gradients", [True, False], ids=["gradients", "no gradients"])
@pytest.mark.parametrize(
    ("layer", "other", "arguments"),
    [
        (fused.FusedGroupNormAct(2, 8, act="silu"), composed(nn.GroupNorm(2, 8), norm_and(F.silu)), (X,)),
        (fused.FusedBatchNormAct2d(8, act="relu"), composed(nn.BatchNorm2d(8), norm_and(F.relu)), (X,)),
        (fused.FusedBatchNormAct2d(8, act="silu").eval(), composed(nn.BatchNorm2d(8).eval(), norm_and(F.silu)), (X,)),
        (fused.FusedBatchNormAct2d(8, act="relu").eval(), composed(nn.BatchNorm2d(8).eval(), lambda self, x, y: F.relu(self.norm(x) + y)), (X, ADDED)),
        (fused.FusedAddLayerNorm(4), composed(nn.LayerNorm(4), sum_and_norm), (X, ADDED)),
        (fused.FusedAddRMSNorm(4), composed(nn.RMSNorm(4), sum_and_norm), (X, ADDED)),
        (fused.FusedSwiGLU(), composed(None, lambda _, gate, up: F.silu(gate) * up), (X, ADDED)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_calls_no_more_functions_than_the_layers_it_replaces(layer, other, arguments, gradients):
    with torch.set_grad_enabled(gradients):
        assert torch.equal(*(next(iter(found)) if isinstance(found, tuple) else found for found in (layer(*arguments), other(*arguments))))
        assert calls(layer, arguments) <= calls(other, arguments)


def halves(x):
    first, second = x.chunk(2, -1)
    return F.silu(first) * second


@pytest.mark.parametrize(
    ("function", "other", "arguments", "more"),
    [
        (fused.swiglu, lambda gate, up: F.silu(gate) * up, (X, ADDED), 0),
        (fused.swiglu_packed, halves, (X,), 2),
        (fused.add_layer_norm, lambda x, y, *rest: F.layer_norm(x + y, *rest), (X, ADDED, (4,)), 0),
        (fused.add_rms_norm, lambda x, y, *rest: F.rms_norm(x + y, *rest), (X, ADDED, (4,)), 0),
        # Three to know whether the activation may overwrite its input.
        (partial(fused.group_norm_act, act="silu"), lambda *arguments: F.silu(F.group_norm(*arguments)), (X, 2, WEIGHT, BIAS), 3),
        (partial(fused.batch_norm_act, act="silu"), lambda *arguments: F.silu(F.batch_norm(*arguments)), (X, BIAS, WEIGHT), 3),
    ],
    ids=["swiglu", "swiglu_packed", "add_layer_norm", "add_rms_norm", "group_norm_act", "batch_norm_act"],
)
def test_a_function_calls_few_functions_more_than_a_composition(function, other, arguments, more):
    assert calls(function, arguments) <= calls(other, arguments) + more


def test_a_name_of_the_package_is_looked_up_once(monkeypatch):
    assert "swiglu" in vars(fused)
    monkeypatch.delitem(vars(fused), "swiglu")
    assert fused.swiglu is vars(fused)["swiglu"]
