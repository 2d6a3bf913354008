"""How the operation of add + norm behaves towards torch: schemas, gradients of gradients, compilers, transforms, layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.fused.add_norm import FusedAddLayerNorm, FusedAddRMSNorm, add_layer_norm, add_rms_norm, run_add_norm
from normadvisor.fused.add_norm.functional import add_norm_in_torch, supported
from normadvisor.fused.add_norm.ops import add_norm, add_norm_backward
from normadvisor.fused.common.triton_support import disabled


def tensors(device, dtype=torch.float64, shape=(3, 4, 8)):
    generator = torch.Generator().manual_seed(0)
    x, residual = (torch.randn(shape, generator=generator, dtype=dtype).to(device).requires_grad_() for _ in range(2))
    weight, bias = (torch.randn(shape[-1], generator=generator, dtype=dtype).to(device).requires_grad_() for _ in range(2))
    return x, residual, weight, bias


@pytest.mark.parametrize(("center", "dtype"), [(True, torch.bfloat16), (False, torch.float32)], ids=str)
def test_operation_keeps_its_contract(center, dtype, device):
    x, residual, weight, bias = tensors(device, dtype)
    sliced = torch.randn(3, 4, 24, device=device, dtype=dtype)[..., :8].requires_grad_()
    transposed = torch.randn(4, 3, 8, device=device, dtype=dtype).transpose(0, 1)
    for first, second in ((x, residual), (sliced, residual), (transposed, transposed), (transposed, residual)):
        torch.library.opcheck(add_norm, (first, second, [8], weight, bias if center else None, 1e-5, center, torch.float32, True))
    torch.library.opcheck(add_norm, (x.detach(), residual.detach(), [8], None, None, 1e-5, center, dtype, False))


@pytest.mark.parametrize("center", [True, False])
def test_backward_operation_keeps_its_contract(center, device):
    x, residual, weight, bias = tensors(device, torch.float32)
    out, total, mean, rstd = add_norm(x, residual, [8], weight, bias, 1e-5, center, torch.float32, True)
    for d_total in (torch.randn_like(total), None):
        saved = [tensor.detach() for tensor in (total, weight, mean, rstd)]
        arguments = (torch.randn_like(out), d_total, *saved, [8], 1e-5, center, torch.float32, torch.float32 if center else None)
        # Gradients of gradients are checked below; opcheck would ask for those of `mean`, which depends on `total`.
        torch.library.opcheck(add_norm_backward, arguments)


@pytest.mark.parametrize("center", [True, False])
def test_gradients_and_their_gradients(center, device):
    x, residual, weight, bias = tensors(device, shape=(2, 3))
    arguments = (x, residual, weight, bias) if center else (x, residual, weight)

    def function(x, residual, *parameters):
        return add_layer_norm(x, residual, (3,), *parameters) if center else add_rms_norm(x, residual, (3,), *parameters, 1e-5)

    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments, fast_mode=True)


def test_third_derivatives(device):
    x, residual, weight, bias = tensors(device, shape=(2, 4))

    def third(function):
        value = function(x, residual, (4,), weight, bias)[0].pow(2).sum()
        for _ in range(2):
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.pow(2).sum()
        return torch.autograd.grad(value, x)[0]

    with disabled():
        expected = third(add_layer_norm)
    torch.testing.assert_close(third(add_layer_norm), expected)


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2,), (3,), (2, 3), (0, 1)], ids=str)
def test_only_what_is_wanted_gets_gradients(used, frozen, device):
    def run(function):
        arguments = list(tensors(device))
        for position in frozen:
            arguments[position] = arguments[position].detach()
        outputs = function(*arguments[:2], (8,), *arguments[2:])
        sum((index + 1) * outputs[index].pow(2).sum() for index in used).backward()
        return [argument.grad for argument in arguments]

    if used == (1,) and frozen == (0, 1):
        pytest.skip("nothing depends on anything")
    found = run(add_layer_norm)
    with disabled():
        expected = run(add_layer_norm)
    assert [gradient is None for gradient in found] == [gradient is None for gradient in expected]
    torch.testing.assert_close([g for g in found if g is not None], [g for g in expected if g is not None])


def test_sum_that_nobody_uses_is_not_stored(device):
    x, residual, weight, bias = (tensor.detach() for tensor in tensors(device))
    out, total = add_layer_norm(x, residual, (8,), weight, bias, return_sum=False)
    assert total.numel() == 0
    torch.testing.assert_close(out, F.layer_norm(x + residual, (8,), weight, bias))
    _, kept = add_layer_norm(x.requires_grad_(), residual, (8,), weight, bias, return_sum=False)
    assert kept.shape == x.shape


def test_backward_without_the_sum_says_so(device):
    x, residual, weight, bias = tensors(device)
    out = add_norm(x, residual, [8], weight, bias, 1e-5, True, torch.float64, False)[0]
    with pytest.raises(RuntimeError, match="store_total=False"):
        out.sum().backward()


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_graph_breaks(dynamic, device):
    def step(x, residual, weight, bias):
        out, total = add_layer_norm(x * 2, residual, (8,), weight, bias)
        normed, _ = add_rms_norm(out, total, (8,), weight, 1e-6, return_sum=False)
        return normed.sin() + total

    arguments = tensors(device, torch.float32)
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend=backend)
    found, expected = compiled(*arguments), step(*arguments)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), arguments), torch.autograd.grad(expected.sum(), arguments))


def test_transforms_fall_back(device):
    x, residual, weight, bias = (tensor.detach() for tensor in tensors(device))

    def run(x, residual):
        return add_layer_norm(x, residual, (8,), weight, bias)

    expected = add_norm_in_torch(x, residual, (8,), (weight, bias), 1e-5, center=True)
    torch.testing.assert_close(torch.func.vmap(run)(x, residual), expected)
    primal, tangent = torch.func.jvp(run, (x, residual), (residual, x))
    torch.testing.assert_close(primal, expected)
    torch.testing.assert_close(tangent, torch.func.jvp(lambda a, b: add_norm_in_torch(a, b, (8,), (weight, bias), 1e-5, center=True), (x, residual), (residual, x))[1])


@pytest.mark.parametrize("affine", [True, False])
def test_layers_compute_what_torch_computes(affine, device):
    x, residual, _, _ = tensors(device, torch.float32)
    for original, kind in (
        (nn.LayerNorm(8, eps=1e-3, elementwise_affine=affine), FusedAddLayerNorm),
        (nn.LayerNorm(8, bias=False, elementwise_affine=affine), FusedAddLayerNorm),
        (nn.RMSNorm(8, eps=1e-6, elementwise_affine=affine), FusedAddRMSNorm),
        (nn.RMSNorm(8, elementwise_affine=affine), FusedAddRMSNorm),
    ):
        original.to(device)
        for parameter in original.parameters():
            nn.init.normal_(parameter)
        layer = kind.from_module(original)
        total = x + residual
        expected = original(total), total
        assert supported(x, residual, (8,), original.weight, getattr(original, "bias", None), original.eps, center=kind is FusedAddLayerNorm) == ""
        torch.testing.assert_close(layer(x, residual), expected)
        torch.testing.assert_close(run_add_norm(original, x, residual), expected)
        torch.testing.assert_close(copy.deepcopy(layer)(x, residual), expected)
        assert kind.from_module(original, return_sum=False)(x, residual)[1] is None


def test_exports(device):
    x, residual, _, _ = (tensor.detach() for tensor in tensors(device, torch.float32))
    layer = FusedAddLayerNorm(8).to(device)
    exported = torch.export.export(layer, (x, residual))
    assert "normadvisor.add_norm" in str(exported.graph)
    torch.testing.assert_close(exported.module()(x, residual), layer(x, residual))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: autocast was NOT tested on a GPU")
@pytest.mark.parametrize("center", [True, False])
def test_autocast_gives_the_dtypes_of_torch(center, device):
    if device.type != "cuda":
        pytest.skip("autocast on a CPU leaves norms alone")
    x, residual, weight, bias = tensors(device, torch.float32)
    half = x.detach().to(torch.bfloat16), residual.detach().to(torch.bfloat16)
    with torch.autocast("cuda", torch.bfloat16):
        found = add_layer_norm(*half, (8,), weight, bias) if center else add_rms_norm(*half, (8,), weight, 1e-5)
        expected = add_norm_in_torch(*half, (8,), (weight, bias), 1e-5, center=center)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: tensors of more than 2**31 elements were NOT tested")
def test_more_than_two_to_the_31_elements(device):
    if device.type != "cuda" or torch.cuda.mem_get_info()[0] < 30 * 2**30:
        pytest.skip("needs a GPU with 30 GiB of free memory")
    columns = 4096
    rows = 2**31 // columns + 3
    x = torch.zeros(rows, columns, dtype=torch.bfloat16, device=device)
    x[-2:] = torch.randn(2, columns, device=device)
    out, total = add_layer_norm(x, x, (columns,))
    torch.testing.assert_close(total[-2:], 2 * x[-2:])
    torch.testing.assert_close(out[-2:], F.layer_norm(2 * x[-2:], (columns,)))
