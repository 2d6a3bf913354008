"""Layers and functions without the kernels: on a CPU torch's own operations run."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import normadvisor.fused
from normadvisor.fused import (
    FusedBatchNormAct1d,
    FusedBatchNormAct2d,
    FusedBatchNormAct3d,
    batch_norm_act,
    batch_norm_supported,
    run_batch_norm,
)
from normadvisor.fused.batch_norm import ops
from normadvisor.fused.common import triton_support
from normadvisor.fused.common.activations import ACTIVATIONS, activation

KINDS = [(FusedBatchNormAct1d, nn.BatchNorm1d, (4, 3)), (FusedBatchNormAct2d, nn.BatchNorm2d, (4, 3, 5, 2)), (FusedBatchNormAct3d, nn.BatchNorm3d, (2, 3, 2, 2, 2))]


@pytest.mark.parametrize(("kind", "original", "shape"), KINDS, ids=["1d", "2d", "3d"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_layer_is_its_original_with_an_activation(kind, original, shape, act):
    plain = original(3, eps=0.01, momentum=0.3)
    layer = kind(3, 0.01, 0.3, True, True, act=act, negative_slope=0.4)
    x, added = torch.randn(shape), torch.randn(shape)
    for mode in ("train", "eval"):
        getattr(plain, mode)()
        getattr(layer, mode)()
        assert torch.equal(layer(x), activation(act, plain(x), 0.4))
        assert torch.equal(layer(x, added), activation(act, plain(x) + added, 0.4))
    assert layer.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(dict(layer.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)


def test_no_operation_of_ours_runs_on_a_cpu(monkeypatch):
    def never(*_):
        raise AssertionError("a custom operation ran")

    for name in ("batch_norm_statistics", "batch_norm_act", "batch_norm_act_backward"):
        monkeypatch.setattr(ops, name, never)
    layer = FusedBatchNormAct2d(3, act="silu")
    layer(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)).sum().backward()
    exported = torch.export.export(layer.eval(), (torch.randn(2, 3, 4, 4),))
    assert [node.target for node in exported.graph.nodes if "normadvisor" in str(node.target)] == []


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_nothing_that_a_caller_holds_is_overwritten(act):
    layer = FusedBatchNormAct2d(3, act=act)
    x, added = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4, requires_grad=True)
    before = x.detach().clone(), added.detach().clone()
    found = torch.autograd.grad(layer(x, added).square().sum(), [x, added])
    z = F.batch_norm(x, None, None, layer.weight, layer.bias, True) + added
    expected = torch.autograd.grad(activation(act, z).square().sum(), [x, added])
    torch.testing.assert_close(found, expected)
    assert (torch.equal(x, before[0]), torch.equal(added, before[1])) == (True, True)


def test_a_negative_slope_has_the_gradients_of_torch():
    layer = FusedBatchNormAct2d(3, act="leaky_relu", negative_slope=-0.5)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    expected = torch.autograd.grad(F.leaky_relu(F.batch_norm(x, None, None, layer.weight, layer.bias, True), -0.5).square().sum(), x)
    assert torch.equal(torch.autograd.grad(layer(x).square().sum(), x)[0], expected[0])


def test_what_is_added_may_have_another_shape_or_dtype():
    layer = FusedBatchNormAct2d(3, act="relu").eval()
    x = torch.randn(2, 3, 4, 4)
    for added in (torch.randn(3, 1, 1), torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(5, 2, 3, 4, 4)):
        expected = F.relu(F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias) + added)
        assert torch.equal(layer(x, added), expected)


def test_made_from_a_layer_it_shares_everything():
    original = nn.BatchNorm2d(3, eps=0.1, momentum=None).eval()
    layer = FusedBatchNormAct2d.from_module(original, act="leaky_relu", negative_slope=0.2)
    same = [name for name, tensor in original.state_dict(keep_vars=True).items() if layer.state_dict(keep_vars=True)[name] is tensor]
    assert same == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert (repr(layer), layer.training) == (
        "FusedBatchNormAct2d(3, eps=0.1, momentum=None, affine=True, "
        + ("bias=True, " if "bias=" in repr(original) else "")
        + "track_running_stats=True, act=leaky_relu, negative_slope=0.2)",
        False,
    )


@pytest.mark.parametrize("settings", [{"affine": False}, {"track_running_stats": False}], ids=str)
def test_made_from_a_layer_without_some_of_its_tensors(settings):
    original = nn.BatchNorm1d(3, **settings)
    layer = FusedBatchNormAct1d.from_module(original, act="relu")
    x = torch.randn(5, 3)
    assert layer.state_dict().keys() == original.state_dict().keys()
    assert torch.equal(layer(x), F.relu(original(x)))


def test_made_from_a_layer_whose_statistics_are_not_stored():
    original = nn.BatchNorm2d(3)
    original.register_buffer("running_mean", original.running_mean, persistent=False)
    assert list(FusedBatchNormAct2d.from_module(original).state_dict()) == ["weight", "bias", "running_var", "num_batches_tracked"]


def parametrized() -> nn.Module:
    return nn.utils.parametrize.register_parametrization(nn.BatchNorm2d(3), "weight", nn.Softplus())


@pytest.mark.parametrize(
    ("original", "message"),
    [
        (nn.BatchNorm1d(3), "FusedBatchNormAct2d takes the place of BatchNorm2d, not of BatchNorm1d"),
        (nn.SyncBatchNorm(3), "FusedBatchNormAct2d takes the place of BatchNorm2d, not of SyncBatchNorm"),
        (nn.LazyBatchNorm2d(), "FusedBatchNormAct2d takes the place of BatchNorm2d, not of LazyBatchNorm2d"),
        (nn.GroupNorm(1, 3), "FusedBatchNormAct2d takes the place of BatchNorm2d, not of GroupNorm"),
        (parametrized(), "the parameters of this ParametrizedBatchNorm2d are computed: remove its parametrizations first"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_no_layer_is_made_from(original, message):
    with pytest.raises(TypeError) as raised:
        FusedBatchNormAct2d.from_module(original)
    assert str(raised.value) == message


def test_what_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        FusedBatchNormAct2d(3, act="swish")
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        batch_norm_act(torch.randn(2, 3), None, None, training=True, act="swish")
    with pytest.raises(ValueError, match=r"expected 4D input \(got 2D input\)"):
        FusedBatchNormAct2d(3)(torch.randn(2, 3))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        FusedBatchNormAct2d(3)(torch.randn(1, 3, 1, 1))


def test_an_activation_is_not_lost_in_a_conversion_to_sync_batch_norm():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), FusedBatchNormAct2d(4, act="relu"))
    with pytest.raises(TypeError) as raised:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert str(raised.value) == "SyncBatchNorm would lose the activation 'relu' of FusedBatchNormAct2d: convert before layers are fused"
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(FusedBatchNormAct2d(4))) is nn.SyncBatchNorm
    assert (hasattr(model[1], "qconfig"), getattr(model[1], "qconfig", "none")) == (False, "none")
    model[1].qconfig = "mine"
    assert model[1].qconfig == "mine"
    assert copy.deepcopy(model)[1].qconfig == "mine"


def test_why_there_are_no_kernels(monkeypatch):
    monkeypatch.setattr(triton_support, "INTERPRETED", True)
    monkeypatch.setattr(triton_support, "HAS_TRITON", True)
    x = torch.empty(1, device="cpu").expand(1, 2, 2**31 - 2**16)
    assert batch_norm_supported(x, training=True) == "a channel of a sample has 2147418112 entries or more"


def test_without_a_bias():
    layer = FusedBatchNormAct2d(3, bias=False, act="relu")
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(layer(x), F.relu(F.batch_norm(x, None, None, layer.weight, None, True)))


def test_an_empty_batch_is_left_to_torch():
    layer, plain = FusedBatchNormAct2d(3, act="relu"), nn.BatchNorm2d(3)
    x = torch.randn(0, 3, 4, 4)
    assert torch.equal(layer(x), F.relu(plain(x)))
    torch.testing.assert_close(dict(layer.state_dict()), dict(plain.state_dict()), rtol=0, atol=0, equal_nan=True)


def test_copied_and_stored():
    layer = FusedBatchNormAct2d(3, act="leaky_relu", negative_slope=0.3)
    layer(torch.randn(4, 3, 2, 2))
    x = torch.randn(4, 3, 2, 2)
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    loaded = FusedBatchNormAct2d(3, act="leaky_relu", negative_slope=0.3)
    loaded.load_state_dict(torch.load(stored, weights_only=True))
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded]
    expected = layer.eval()(x)
    assert [torch.equal(found.eval()(x), expected) for found in copies] == [True] * 3


def test_on_the_meta_device():
    layer = FusedBatchNormAct2d(3, device="meta", dtype=torch.bfloat16, act="silu")
    y = layer(torch.empty(2, 3, 4, 4, device="meta", dtype=torch.bfloat16))
    assert (y.shape, y.dtype, y.device.type) == ((2, 3, 4, 4), torch.bfloat16, "meta")
    assert batch_norm_supported(y, layer.running_mean, layer.running_var) == "on meta torch's own operations are the fast ones"


def test_under_autocast():
    layer, plain = FusedBatchNormAct2d(3, act="relu"), nn.BatchNorm2d(3)
    conv = nn.Conv2d(3, 3, 3)
    x = torch.randn(2, 3, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = layer(conv(x)), F.relu(plain(conv(x)))
    assert (found.dtype, torch.equal(found, expected)) == (torch.bfloat16, True)


def test_traced_by_fx_as_one_call():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), FusedBatchNormAct2d(4, act="relu"))
    traced = torch.fx.symbolic_trace(model)
    assert [getattr(node.target, "__name__", node.target) for node in traced.graph.nodes if node.op in {"call_function", "call_module"}] == [
        "0",
        "Statistics",
        "Epilogue",
        "normalize",
    ]
    x = torch.randn(2, 3, 6, 6)
    copied = copy.deepcopy(model)
    assert torch.equal(traced(x), copied(x))


def test_a_plain_layer_run_with_what_follows():
    first, second = nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, momentum=None)
    for _ in range(3):
        x, added = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
        assert torch.equal(run_batch_norm(first, x, added, "leaky_relu", 0.2), F.leaky_relu(second(x) + added, 0.2))
    torch.testing.assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_the_operations_themselves_run_everywhere(training, residual, act):
    torch.manual_seed(0)
    x, added = (torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight, bias, mean, var = (torch.rand(4, dtype=torch.float64, requires_grad=number < 2) for number in range(4))
    if training:
        running = mean.clone(), var.clone()
        expected_running = mean.clone(), var.clone()
        mean, var = ops.batch_norm_statistics(x.detach(), *running, None, 0.2)
        F.batch_norm(x, *expected_running, training=True, momentum=0.2)
        torch.testing.assert_close(running, expected_running)
    inputs = [x, weight, bias, *([added] if residual else [])]
    y = ops.batch_norm_act(x, added if residual else None, mean, var, weight, bias, 1e-5, act, 0.01, training)
    z = F.batch_norm(x, *((None, None) if training else (mean, var)), weight, bias, training, 0.0)
    expected = activation(act, z + added if residual else z)
    torch.testing.assert_close([y, *torch.autograd.grad(y.square().sum(), inputs)], [expected, *torch.autograd.grad(expected.square().sum(), inputs)])


def test_public_names():
    assert [name for name in normadvisor.fused.__all__ if "atch" in name] == [
        "FusedBatchNormAct1d",
        "FusedBatchNormAct2d",
        "FusedBatchNormAct3d",
        "batch_norm_act",
        "batch_norm_supported",
        "run_batch_norm",
    ]
