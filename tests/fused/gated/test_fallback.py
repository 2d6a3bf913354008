"""Where kernels cannot run, torch's own operations do, to the bit; and it is said why."""

from __future__ import annotations

import copy
import pickle
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.fused.common import implementations as common
from normadvisor.fused.common import triton_support
from normadvisor.fused.gated import (
    FusedGatedActivation,
    FusedGEGLU,
    FusedSwiGLU,
    gated,
    gated_packed,
    geglu,
    geglu_packed,
    implementation,
    implementations,
    registry,
    swiglu,
    swiglu_packed,
)
from normadvisor.fused.gated.functional import supported, supported_packed

GATE, UP, X = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.randn(2, 4, 8)


@pytest.fixture
def as_if_on_a_gpu(monkeypatch):
    """As if kernels could run on the CPU: reasons that lie in the tensors come to light."""
    monkeypatch.setattr(triton_support, "INTERPRETED", True)
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (swiglu(GATE, UP), F.silu(GATE) * UP),
        (geglu(GATE, UP), F.gelu(GATE) * UP),
        (geglu(GATE, UP, "tanh"), F.gelu(GATE, approximate="tanh") * UP),
        (gated(GATE, UP, "relu"), F.relu(GATE) * UP),
        (gated(GATE, UP[:1], "none"), GATE * UP[:1]),
        (swiglu_packed(X), F.silu(X[..., :4]) * X[..., 4:]),
        (swiglu_packed(X, 1, gate_last=True), F.silu(X[:, 2:]) * X[:, :2]),
        (geglu_packed(X, approximate="tanh"), F.gelu(X[..., :4], approximate="tanh") * X[..., 4:]),
        (gated_packed(X, "mish", -2), F.mish(X[:, :2]) * X[:, 2:]),
    ],
)
def test_functions_compute_what_torch_computes(found, expected):
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gated(GATE, UP, "swish"), "unknown activation 'swish'"),
        (lambda: gated_packed(X, "swish"), "unknown activation 'swish'"),
        (lambda: geglu(GATE, UP, "erf"), "approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: swiglu_packed(GATE, 1), r"dimension 1 of a tensor of shape \(2, 3, 8\) cannot be halved"),
        (lambda: swiglu_packed(GATE, 3), r"dimension 3 of a tensor of shape \(2, 3, 8\) cannot be halved"),
        (lambda: FusedGatedActivation("swish"), "unknown activation 'swish'"),
        (lambda: FusedSwiGLU(implementation="quack"), "unknown implementation 'quack': expected one of fused, torch, liger"),
        (lambda: FusedGatedActivation.from_module(nn.LeakyReLU(0.3)), r"no kernel computes LeakyReLU\(negative_slope=0.3\)"),
        (lambda: FusedGatedActivation.from_module(nn.Softplus()), "no kernel computes Softplus"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("gate", "up", "expected"),
    [
        (GATE, UP, ""),
        (GATE.half(), UP, ""),
        (GATE, UP[:1], "gate and up have different shapes"),
        (GATE.transpose(0, 1), UP.view(3, 2, 8), "the inputs would have to be copied first"),
        (GATE.long(), UP, "there are no kernels for int64"),
    ],
)
def test_reasons(gate, up, expected, as_if_on_a_gpu):
    assert supported(gate, up, "silu") == expected


def test_reasons_for_halves(as_if_on_a_gpu):
    assert supported_packed(X, "silu") == ""
    assert supported_packed(X[..., :4], "silu") == "the input would have to be copied first"


def test_no_kernel_on_a_cpu():
    reason = "on cpu torch's own operations are the fast ones" if triton_support.HAS_TRITON else "Triton is not installed"
    assert (supported(GATE, UP, "silu"), supported_packed(X, "silu")) == (reason, reason)


@pytest.mark.parametrize(
    ("layer", "expected", "shown"),
    [
        (FusedSwiGLU(), F.silu(GATE) * UP, "FusedSwiGLU(act='silu')"),
        (FusedGEGLU(), F.gelu(GATE) * UP, "FusedGEGLU(act='gelu')"),
        (FusedGEGLU("tanh", 1, gate_last=True), F.gelu(GATE, approximate="tanh") * UP, "FusedGEGLU(act='gelu_tanh', dim=1, gate_last=True)"),
        (FusedGatedActivation.from_module(nn.ReLU(inplace=True)), F.relu(GATE) * UP, "FusedGatedActivation(act='relu')"),
        (FusedSwiGLU(implementation="torch"), F.silu(GATE) * UP, "FusedSwiGLU(act='silu', implementation='torch')"),
    ],
)
def test_layers(layer, expected, shown):
    assert torch.equal(layer(GATE, UP), expected)
    halves = [UP, GATE] if layer.gate_last else [GATE, UP]
    torch.testing.assert_close(layer(torch.cat(halves, layer.dim)), expected)
    assert str(layer) == shown
    assert list(layer.state_dict()) == []
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(GATE, UP), expected)


def test_one_node_in_graphs_of_fx():
    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(8, 16), FusedSwiGLU()))
    assert [node.name for node in graph.graph.nodes if node.op == "call_function"] == ["_compute_packed"]
    assert graph(GATE).shape == (2, 3, 8)


def test_compiles_exports_and_runs_on_the_meta_device():
    layer = FusedSwiGLU()
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="eager")(GATE, UP), layer(GATE, UP))
    assert torch.equal(torch.export.export(layer, (GATE, UP)).module()(GATE, UP), layer(GATE, UP))
    assert layer(GATE.to("meta"), UP.to("meta")).shape == (2, 3, 8)


def test_transforms_of_torch_func():
    expected = F.silu(X[..., :4]) * X[..., 4:]
    assert torch.equal(torch.func.vmap(swiglu_packed)(X), expected)
    assert torch.equal(torch.func.vmap(FusedSwiGLU())(GATE, UP), F.silu(GATE) * UP)
    tangent = torch.func.jvp(swiglu_packed, (X,), (X,))[1]
    torch.testing.assert_close(tangent, torch.func.jvp(lambda x: F.silu(x[..., :4]) * x[..., 4:], (X,), (X,))[1])


def test_implementations_give_the_same(monkeypatch):
    for one in implementations("gated"):
        assert torch.equal(one.run(GATE, UP, "silu"), F.silu(GATE) * UP)
    for one in implementations("gated_packed"):
        assert torch.equal(one.run(X, "silu", -1, gate_last=False), F.silu(X[..., :4]) * X[..., 4:])
    monkeypatch.setattr(common, "installed", lambda package: False)
    assert [one.name for one in implementations("gated")] == ["fused", "torch"]


@pytest.mark.parametrize(("act", "place"), [("silu", ("swiglu", "LigerSiLUMulFunction")), ("gelu_tanh", ("geglu", "LigerGELUMulFunction"))])
def test_liger_is_called_as_it_expects(act, place, monkeypatch):
    calls = []
    module = types.ModuleType(place[0])
    setattr(module, place[1], types.SimpleNamespace(apply=lambda *args: calls.append(args) or "out"))
    monkeypatch.setitem(sys.modules, f"liger_kernel.ops.{place[0]}", module)
    monkeypatch.setattr(common, "installed", lambda package: True)
    assert torch.equal(implementation("gated", "liger").run(GATE, UP, "relu"), F.relu(GATE) * UP)
    monkeypatch.setattr(registry, "_liger_refuses", lambda *_: "")
    assert implementation("gated", "liger").run(GATE, UP, act) == "out"
    assert calls == [(GATE, UP)]
    assert "writes the gradients over gate and up" in implementation("gated", "liger").caution


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((GATE, UP, "silu"), "on cpu torch's own operations are the fast ones"),
        ((GATE, UP, "gelu"), "Liger has no kernel for gelu"),
        ((GATE, UP[:1], "silu"), "gate and up have different shapes"),
        ((GATE, UP.half(), "silu"), "needs one dtype: float32, float16 or bfloat16"),
        ((GATE, UP, "gelu_tanh"), ""),
    ],
)
def test_what_liger_refuses(arguments, expected):
    gate = arguments[0] if "cpu" in expected else types.SimpleNamespace(device=torch.device("cuda"), shape=GATE.shape, dtype=GATE.dtype, dim=GATE.dim)
    assert registry._liger_refuses(gate, *arguments[1:]) == expected
