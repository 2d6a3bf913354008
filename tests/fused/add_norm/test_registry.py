"""Implementations have one signature, and those of other packages are called as these expect."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from normadvisor.fused.add_norm import FusedAddRMSNorm, implementation, implementations, registry
from normadvisor.fused.common import implementations as common

X, RESIDUAL, WEIGHT = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.randn(8)
ARGUMENTS = (X, RESIDUAL, (8,), WEIGHT, None, 1e-6, True)


@pytest.fixture
def installed(monkeypatch):
    """As if quack and Liger were there and the CPU were a GPU: what they are called with."""
    calls = []
    quack = types.ModuleType("quack")
    quack.rmsnorm = lambda *args, **kwargs: calls.append(("quack", args, kwargs)) or ("out", "total")
    liger = types.ModuleType("liger_kernel.ops.fused_add_rms_norm")
    liger.LigerFusedAddRMSNormFunction = types.SimpleNamespace(apply=lambda *args: calls.append(("liger", args, {})) or ("out", "total"))
    monkeypatch.setitem(sys.modules, "quack", quack)
    monkeypatch.setitem(sys.modules, "liger_kernel.ops.fused_add_rms_norm", liger)
    monkeypatch.setattr(common, "installed", lambda package: True)
    return calls


def test_ours_and_torch_are_always_there():
    for kind in ("add_layer_norm", "add_rms_norm"):
        assert [one.name for one in implementations(kind)][:2] == ["fused", "torch"]


@pytest.mark.parametrize("kind", ["add_layer_norm", "add_rms_norm"])
def test_all_give_the_same(kind):
    expected = implementation(kind, "torch").run(*ARGUMENTS)
    for one in implementations(kind):
        torch.testing.assert_close(one.run(*ARGUMENTS), expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "on cpu torch's own operations are the fast ones"),
        ({"device": "cuda"}, ""),
        ({"device": "cuda", 2: (3, 8)}, "needs two tensors of one shape and rows along the last dimension"),
        ({"device": "cuda", 3: None}, "needs a weight and an eps"),
        ({"device": "cuda", 5: None}, "needs a weight and an eps"),
        ({"device": "cuda", 3: WEIGHT.half()}, "needs one dtype: float32, float16 or bfloat16"),
    ],
)
def test_what_other_packages_refuse(change, expected):
    arguments = [change.get(position, argument) for position, argument in enumerate(ARGUMENTS)]
    if "device" in change:
        arguments[0] = OnGpu(arguments[0])
    assert registry._refuses_others(*arguments) == expected


class OnGpu:
    """Says that it is on a GPU."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.device = torch.device("cuda")

    def __getattr__(self, name):
        return getattr(self.tensor, name)


def test_quack_gives_the_sum_too(installed, monkeypatch):
    monkeypatch.setattr(registry, "_refuses_quack", lambda *_: "")
    assert implementation("add_rms_norm", "quack").run(*ARGUMENTS) == ("out", "total")
    assert installed == [("quack", (X, WEIGHT), {"residual": RESIDUAL, "eps": 1e-6, "prenorm": True})]


def test_liger_computes_in_float32_and_overwrites_nothing(installed, monkeypatch):
    monkeypatch.setattr(registry, "_refuses_liger", lambda *_: "")
    assert implementation("add_rms_norm", "liger").run(*ARGUMENTS) == ("out", "total")
    assert installed == [("liger", (X, RESIDUAL, WEIGHT, 1e-6, 0.0, "gemma", False), {})]


def test_what_they_refuse_torch_computes(installed):
    expected = implementation("add_rms_norm", "torch").run(*ARGUMENTS)
    for name in ("quack", "liger"):
        torch.testing.assert_close(implementation("add_rms_norm", name).run(*ARGUMENTS), expected)
        torch.testing.assert_close(FusedAddRMSNorm(8, implementation=name)(X, RESIDUAL)[1], expected[1])
    assert installed == []


def test_long_rows_are_too_much_for_liger(monkeypatch):
    monkeypatch.setattr(registry, "_refuses_others", lambda *_: "")
    assert registry._refuses_liger(X, RESIDUAL, (65537,), WEIGHT, None, 1e-6, True) == "takes rows of at most 65536 elements"


def test_old_gpus_are_too_old_for_quack(monkeypatch):
    monkeypatch.setattr(registry, "_refuses_others", lambda *_: "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert registry._refuses_quack(*ARGUMENTS) == "needs compute capability 9.0"


def test_names_are_checked(monkeypatch):
    monkeypatch.setattr(common, "installed", lambda package: False)
    with pytest.raises(ValueError, match=r"unknown implementation 'apex': expected one of fused, torch, quack, liger"):
        FusedAddRMSNorm(8, implementation="apex")
    with pytest.raises(ValueError, match="implementation 'quack' is not there: quack is not installed"):
        implementation("add_rms_norm", "quack")
    assert [one.name for one in implementations("add_rms_norm")] == ["fused", "torch"]
