"""How the operations of gated activations behave towards torch: schemas, gradients of gradients, compilers, transforms, layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from normadvisor.fused.common.triton_support import disabled
from normadvisor.fused.gated import FusedGEGLU, FusedSwiGLU, gated, geglu, geglu_packed, ops, swiglu, swiglu_packed
from normadvisor.fused.gated.functional import gated_in_torch


def tensor(device, shape=(3, 4, 8), dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).to(device).requires_grad_()


def test_operations_keep_their_contracts(device):
    dtype = torch.bfloat16
    gate, up, x = tensor(device, dtype=dtype), tensor(device, dtype=dtype, seed=1), tensor(device, (2, 6, 4, 4), torch.float32)
    halves = [half.detach().requires_grad_() for half in tensor(device, (3, 16), dtype).chunk(2, -1)]
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    for pair in ((gate, up), halves, (gate.detach().transpose(0, 1), up.detach().transpose(0, 1)), (gate.transpose(0, 1), up.view(4, 3, 8))):
        torch.library.opcheck(ops.gated, (*pair, "silu"))
    for whole, dim in ((x, 1), (last, 1), (x, 3), (last, 3)):
        torch.library.opcheck(ops.gated_packed, (whole, "gelu", dim, True))


def test_backward_operations_keep_their_contracts(device):
    gate, up, x = tensor(device, dtype=torch.float32), tensor(device, dtype=torch.float32, seed=1), tensor(device, (2, 6, 4, 4), torch.float32)
    torch.library.opcheck(ops.gated_backward, (torch.randn_like(gate), gate, up, "silu"))
    torch.library.opcheck(ops.gated_packed_backward, (torch.randn_like(x[:, :3]), x, "silu", 1, False))


@pytest.mark.parametrize("act", ["silu", "gelu", "gelu_tanh"])
def test_gradients_and_their_gradients(act, device):
    gate, up, x = tensor(device, (2, 3)), tensor(device, (2, 3), seed=1), tensor(device, (2, 6))
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda gate, up: gated(gate, up, act), (gate, up))
        assert check(lambda x: ops.run_packed(x, act, 1, gate_last=True), (x,))


@pytest.mark.parametrize("frozen", [0, 1])
def test_only_what_is_wanted_gets_gradients(frozen, device):
    tensors = [tensor(device), tensor(device, seed=1)]
    tensors[frozen] = tensors[frozen].detach()
    swiglu(*tensors).sum().backward()
    expected = [argument.detach().requires_grad_(argument.requires_grad) for argument in tensors]
    gated_in_torch(*expected, "silu").sum().backward()
    assert tensors[frozen].grad is None
    torch.testing.assert_close(tensors[1 - frozen].grad, expected[1 - frozen].grad)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_graph_breaks(dynamic, device):
    def step(gate, up, x):
        return swiglu(gate * 2, up).sin() + geglu_packed(x, 1, approximate="tanh") + geglu(gate, up)

    arguments = tensor(device, dtype=torch.float32), tensor(device, dtype=torch.float32, seed=1), tensor(device, (3, 8, 8), torch.float32)
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    found, expected = torch.compile(step, fullgraph=True, dynamic=dynamic, backend=backend)(*arguments), step(*arguments)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), arguments), torch.autograd.grad(expected.sum(), arguments))


def test_transforms_fall_back(device):
    gate, up = tensor(device).detach(), tensor(device, seed=1).detach()
    expected = F.silu(gate) * up
    torch.testing.assert_close(torch.func.vmap(swiglu)(gate, up), expected)
    torch.testing.assert_close(torch.func.jvp(swiglu, (gate, up), (up, gate))[0], expected)
    torch.testing.assert_close(torch.func.vmap(swiglu_packed)(torch.cat([gate, up], -1)), expected)


def test_layers(device):
    gate, up = tensor(device, dtype=torch.float32), tensor(device, dtype=torch.float32, seed=1)
    torch.testing.assert_close(FusedSwiGLU()(gate, up), F.silu(gate) * up)
    torch.testing.assert_close(FusedGEGLU("tanh", gate_last=True)(torch.cat([up, gate], -1)), F.gelu(gate, approximate="tanh") * up)
    exported = torch.export.export(FusedSwiGLU(), (gate, up))
    assert "normadvisor.gated" in str(exported.graph)
    torch.testing.assert_close(exported.module()(gate, up), F.silu(gate) * up)
    with disabled():
        assert torch.equal(FusedSwiGLU()(gate, up), F.silu(gate) * up)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: tensors of more than 2**31 elements were NOT tested")
def test_more_than_two_to_the_31_elements(device):
    if device.type != "cuda" or torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs a GPU with 20 GiB of free memory")
    x = torch.zeros(2**31 + 4096, dtype=torch.bfloat16, device=device)
    x[-4096:] = torch.randn(4096, device=device)
    out = swiglu(x, x)
    torch.testing.assert_close(out[-4096:], F.silu(x[-4096:]) * x[-4096:])
