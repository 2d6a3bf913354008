"""The layer and the function where there are no kernels: torch's own operations, and nothing in their way."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.fused import ACTIVATIONS, FusedGroupNormAct, disabled, enabled, group_norm_act, group_norm_supported, run_group_norm
from normadvisor.fused.common.activations import activation


def original(**changes):
    torch.manual_seed(0)
    norm = nn.GroupNorm(**{"num_groups": 2, "num_channels": 6, "eps": 1e-3, **changes})
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def test_arguments_are_those_of_torch():
    layer = FusedGroupNormAct(2, 6, 1e-3, False, "meta", torch.float64, act="silu")
    assert (layer.num_groups, layer.num_channels, layer.eps, layer.affine, layer.weight, layer.act) == (2, 6, 1e-3, False, None, "silu")
    assert FusedGroupNormAct(2, 6, device="meta", dtype=torch.float64).weight.dtype == torch.float64
    assert list(FusedGroupNormAct(2, 6, bias=False).state_dict()) == ["weight"]


def test_state_dict_is_that_of_torch():
    layer = FusedGroupNormAct(2, 6, act="relu")
    plain = original()
    assert list(layer.state_dict()) == list(plain.state_dict())
    layer.load_state_dict(plain.state_dict())
    assert torch.equal(layer.weight, plain.weight)


def test_from_module_shares_parameters():
    plain = original().eval()
    layer = FusedGroupNormAct.from_module(plain, act="leaky_relu", negative_slope=0.2)
    assert (layer.weight is plain.weight, layer.bias is plain.bias, layer.training, layer.affine) == (True, True, False, True)
    x = torch.randn(2, 6, 4)
    assert torch.equal(layer(x), F.leaky_relu(plain(x), 0.2))
    assert list(dict(layer.named_parameters())) == ["weight", "bias"]
    bare = FusedGroupNormAct.from_module(original(affine=False), act="silu")
    assert (bare.affine, bare.weight, bare.bias, bare.training) == (False, None, None, True)


def test_from_module_takes_nothing_that_computes_something_else():
    class Shifted(nn.GroupNorm):
        def forward(self, x):
            return super().forward(x) + 1

    for other in (nn.LayerNorm(6), Shifted(2, 6), FusedGroupNormAct(2, 6, act="relu")):
        with pytest.raises(TypeError) as error:
            FusedGroupNormAct.from_module(other)
        assert str(error.value) == f"{type(other).__name__} may compute something else than torch.nn.GroupNorm"


def test_extra_repr():
    plain = repr(nn.GroupNorm(2, 6)).removeprefix("GroupNorm(").removesuffix(")")
    assert repr(FusedGroupNormAct(2, 6, act="silu")) == f"FusedGroupNormAct({plain}, act=silu)"
    assert repr(FusedGroupNormAct(2, 6, act="leaky_relu")) == f"FusedGroupNormAct({plain}, act=leaky_relu, negative_slope=0.01)"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="num_channels"):
        FusedGroupNormAct(4, 6)
    with pytest.raises(ValueError, match="unknown activation 'swish': expected one of none, relu, relu6, leaky_relu, silu"):
        FusedGroupNormAct(2, 6, act="swish")


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 3, 4), (2, 6, 2, 3, 2), (0, 6, 4)])
def test_on_the_cpu_it_is_torch(act, shape):
    norm = original()
    x = torch.randn(shape, requires_grad=True)
    y = run_group_norm(norm, x, act, 0.3)
    expected = activation(act, norm(x), 0.3)
    assert torch.equal(y, expected)
    parameters = (x, norm.weight, norm.bias)
    seed = torch.randn_like(y)
    for found, wanted in zip(torch.autograd.grad(y, parameters, seed), torch.autograd.grad(expected, parameters, seed), strict=True):
        assert torch.equal(found, wanted)
    with torch.no_grad():
        assert torch.equal(run_group_norm(norm, x, act, 0.3), expected)


def test_why_there_are_no_kernels():
    x = torch.randn(2, 6, 4)
    assert group_norm_supported(x) == "on cpu torch's own operations are the fast ones"
    assert group_norm_supported(torch.empty(2, 6, device="meta")) == "on meta torch's own operations are the fast ones"
    assert enabled()
    with disabled():
        assert (enabled(), group_norm_supported(x)) == (False, "fused kernels are switched off")
    assert enabled()


def test_meta_tensors_have_shapes():
    layer = FusedGroupNormAct(2, 6, device="meta", act="silu")
    assert layer(torch.empty(2, 6, 5, 5, device="meta")).shape == (2, 6, 5, 5)


def test_no_operation_of_ours_is_in_the_way_on_the_cpu():
    layer = FusedGroupNormAct(2, 6, act="silu")
    x = torch.randn(2, 6, 4, 4)
    exported = torch.export.export(layer, (x,))
    assert [str(node.target) for node in exported.graph.nodes if node.op == "call_function"] == [
        "aten.group_norm.default",
        "aten.silu.default",
    ]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_traced_by_torch_jit_it_is_torch():
    layer = FusedGroupNormAct(2, 6, act="silu")
    x = torch.randn(2, 6, 4, 4)
    traced = torch.jit.trace(layer, (x,))
    assert torch.equal(traced(x), layer(x))
    assert "normadvisor::" not in str(traced.inlined_graph)


def test_one_node_for_torch_fx():
    graph = torch.fx.symbolic_trace(nn.Sequential(FusedGroupNormAct(2, 6, act="silu"))).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [group_norm_act]


def test_transforms_of_torch_func():
    layer = FusedGroupNormAct(2, 6, act="hardswish").requires_grad_(requires_grad=False)
    x = torch.randn(3, 2, 6, 4)
    torch.testing.assert_close(torch.func.vmap(layer)(x), torch.stack([layer(one) for one in x]))


def test_copies_and_pickles():
    layer = FusedGroupNormAct(2, 6, act="gelu")
    x = torch.randn(2, 6, 4)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert (torch.equal(loaded(x), layer(x)), loaded.act) == (True, "gelu")


def test_autocast_on_the_cpu_is_that_of_torch():
    norm = original()
    x = torch.randn(2, 6, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y, expected = run_group_norm(norm, x, "silu"), F.silu(norm(x))
    assert (y.dtype, torch.equal(y, expected)) == (expected.dtype, True)
