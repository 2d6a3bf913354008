"""GroupNorm + activation as an operation of torch: what the library, autograd and compilers ask of it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.fused import FusedGroupNormAct, disabled, group_norm_act, group_norm_supported
from normadvisor.fused.group_norm.ops import group_norm_act_backward_op, group_norm_act_op


def tensors(device, shape=(2, 6, 3, 2), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    weight, bias = torch.randn(2, shape[1], generator=generator, dtype=dtype)
    return tuple(tensor.clone().to(device).requires_grad_() for tensor in (x, weight, bias))


def test_opcheck(layout, device):
    x, weight, bias = tensors(device)
    x = layout(x.detach()).requires_grad_()
    for present in ((weight, bias), (None, None), (weight, None)):
        torch.library.opcheck(group_norm_act_op, (x, 3, *present, 1e-5, "silu", 0.01, None))
    torch.library.opcheck(group_norm_act_op, (x.detach().float(), 3, None, None, 1e-5, "none", 0.01, torch.float64))


def test_opcheck_of_backward(layout, device):
    x, weight, bias = (tensor.detach() for tensor in tensors(device))
    x = layout(x)
    _, statistics = group_norm_act_op(x, 3, weight, bias, 1e-5, "silu", 0.01, None)
    for parameters in (True, False):
        torch.library.opcheck(group_norm_act_backward_op, (x.cos(), x, 3, weight, bias, statistics, 1e-5, "silu", 0.01, parameters))


def test_first_and_second_derivatives(layout, device):
    x, weight, bias = tensors(device, (1, 4, 3, 1))
    x = layout(x.detach()).requires_grad_()
    act = "silu" if x.is_contiguous() else "gelu_tanh"

    def short(x, weight, bias):
        return group_norm_act(x, 2, weight, bias, 1e-2, act=act)

    def operation(x, weight, bias):
        return group_norm_act_op(x, 2, weight, bias, 1e-2, act, 0.01, None)[0]

    for run in (short, operation):
        assert torch.autograd.gradcheck(run, (x, weight, bias), fast_mode=run is short)
        assert torch.autograd.gradgradcheck(run, (x, weight, bias), fast_mode=True)


def test_third_derivative(device):
    x, weight, bias = tensors(device, (1, 2, 3))

    def third(run):
        y = run(x)
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        return y

    actual = third(lambda x: group_norm_act(x, 1, weight, bias, act="silu"))
    torch.testing.assert_close(actual, third(lambda x: F.silu(F.group_norm(x, 1, weight, bias))), rtol=1e-9, atol=1e-9)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = FusedGroupNormAct(2, 8, act="silu")

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_in_one_graph(dynamic, device):
    torch.manual_seed(0)
    model = Block().to(device)
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for size in (4, 6):
        x = torch.randn(2, 3, size, size, device=device)
        compiled(x).square().sum().backward()
        with disabled():
            twin(x).square().sum().backward()
    for (name, parameter), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_compiled_graphs_hold_the_operation(device):
    seen = []

    def look(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    torch.compile(lambda x: group_norm_act(x, 2, act="silu"), fullgraph=True, backend=look)(torch.randn(2, 4, 5, device=device))
    assert "normadvisor.group_norm_act.default" in seen


def test_export(device):
    model = Block().to(device).eval()
    x = torch.randn(2, 3, 4, 4, device=device)
    exported = torch.export.export(model, (x,))
    assert [str(node.target) for node in exported.graph.nodes if "normadvisor" in str(node.target)] == ["normadvisor.group_norm_act.default"]
    torch.testing.assert_close(exported.module()(x), model(x))


def test_transforms_fall_back_to_torch(device):
    x, weight, bias = (tensor.detach() for tensor in tensors(device))

    def run(x):
        return group_norm_act(x, 3, weight, bias, act="gelu")

    def expected(x):
        return F.gelu(F.group_norm(x, 3, weight, bias))

    torch.testing.assert_close(torch.func.vmap(run)(x[None].expand(3, -1, -1, -1, -1)), expected(x).expand(3, -1, -1, -1, -1))
    torch.testing.assert_close(torch.func.grad(lambda x: run(x).sin().sum())(x), torch.func.grad(lambda x: expected(x).sin().sum())(x))
    tangents = torch.func.jvp(expected, (x,), (x.cos(),))
    torch.testing.assert_close(torch.func.jvp(run, (x,), (x.cos(),)), tangents)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x.cos())
        assert group_norm_supported(dual) == "forward-mode differentiation is active"
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(run(dual)).tangent, tangents[1])


def test_no_gradients_are_recorded_where_none_are_wanted(device):
    x, weight, bias = tensors(device)
    with torch.no_grad():
        assert not group_norm_act(x, 3, weight, bias).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(group_norm_act(x, 3, weight, bias), F.group_norm(x, 3, weight, bias), rtol=1e-11, atol=1e-11)
    assert not group_norm_act(x.detach(), 3, weight.detach(), bias.detach()).requires_grad


def test_an_input_that_changed_before_backward_is_noticed(device):
    x, weight, bias = tensors(device)
    z = x * 1
    y = group_norm_act(z, 3, weight, bias, act="silu")
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_outputs_wider_than_the_input(device):
    x, weight, bias = (tensor.detach().bfloat16().requires_grad_() for tensor in tensors(device))
    y, _ = group_norm_act_op(x, 3, weight, bias, 1e-5, "silu", 0.01, torch.float32)
    expected = F.silu(F.group_norm(x.float(), 3, weight.float(), bias.float()))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    found = torch.autograd.grad(y.square().sum(), (x, weight, bias))
    wanted = torch.autograd.grad(expected.square().sum(), (x, weight, bias))
    assert [tensor.dtype for tensor in found] == [torch.bfloat16] * 3
    torch.testing.assert_close(found, wanted, rtol=1.6e-2, atol=1.6e-2)


def test_empty_inputs_of_the_operation(device):
    x = torch.empty(0, 4, 5, device=device, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(4, device=device, dtype=torch.float64, requires_grad=True)
    y, _ = group_norm_act_op(x, 2, weight, None, 1e-5, "silu", 0.01, None)
    dx, dweight = torch.autograd.grad(y.sum(), (x, weight))
    assert (y.shape, dx.shape, dweight.tolist()) == ((0, 4, 5), (0, 4, 5), [0, 0, 0, 0])


def test_wrong_arguments_are_refused_in_the_words_of_torch(device):
    x, weight, bias = (tensor.detach() for tensor in tensors(device))
    for groups, parameter in ((4, weight), (3, weight[:5]), (3, weight.reshape(2, 3)), (0, weight)):
        with pytest.raises((RuntimeError, ZeroDivisionError)) as theirs:
            F.group_norm(x, groups, parameter, bias)
        with pytest.raises(type(theirs.value)) as ours:
            group_norm_act(x, groups, parameter, bias)
        assert str(ours.value) == str(theirs.value)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        group_norm_act(x[:1, :3, :1, :1], 3)
    with pytest.raises(ValueError, match="unknown activation 'swish': expected one of none, relu"):
        group_norm_act(x, 3, act="swish")
