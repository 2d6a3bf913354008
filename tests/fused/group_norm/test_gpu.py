"""What only a GPU can show; the kernels themselves are run on one by tests/fused/test_kernels.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.fused import FusedGroupNormAct, group_norm_act, group_norm_supported
from normadvisor.fused.common.reference import gradients, in_float64, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: GroupNorm was NOT tested on a GPU"),
]

SHAPES = [((16, 320, 64, 64), 32), ((2, 1280, 16, 16), 32), ((1, 128, 512, 512), 32), ((8, 64, 56, 56), 1), ((8, 96, 7, 7), 96), ((3, 10, 13, 11), 5)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_real_shapes(shape, groups, last, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, device="cuda", dtype=dtype)
    x = (x.contiguous(memory_format=torch.channels_last) if last else x).requires_grad_()
    weight, bias = (torch.randn(shape[1], device="cuda", dtype=dtype, requires_grad=True) for _ in range(2))
    seed = torch.randn_like(x)
    assert group_norm_supported(x, weight, bias) == ""

    def plain(x, weight, bias):
        return F.silu(F.group_norm(x, groups, weight, bias))

    def fused(x, weight, bias):
        return group_norm_act(x, groups, weight, bias, act="silu")

    exact = gradients(plain, in_float64((x, weight, bias)), [seed])
    ours, again, theirs = (gradients(run, (x, weight, bias), [seed]) for run in (fused, fused, plain))
    floor = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
    for mine, twice, other, true in zip(ours, again, theirs, exact, strict=True):
        assert relative_error(mine, true) <= max(2 * relative_error(other, true), floor)
        assert torch.equal(mine, twice)
    assert ours[0].stride() == ours[1].stride() == x.stride()


@pytest.mark.xdist_group("memory")
def test_more_elements_than_32_bits_count():
    try:
        x = torch.randn(3, 64, 3400, 3400, device="cuda", dtype=torch.bfloat16)
        y = group_norm_act(x, 32, act="silu")
    except torch.cuda.OutOfMemoryError:
        pytest.skip("needs 9 GiB of GPU memory")
    assert x.numel() > 2**31
    torch.testing.assert_close(y[2:, 62:], F.silu(F.group_norm(x[2:, 62:], 1)), rtol=2e-2, atol=2e-2)


def test_autocast_gives_float32_as_torch_does():
    x = torch.randn(2, 6, 4, 4, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    layer = FusedGroupNormAct(2, 6, act="silu", device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        y = layer(x)
        expected = F.silu(F.group_norm(x, 2, layer.weight, layer.bias, layer.eps))
    assert y.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(y, expected)
    (found,) = torch.autograd.grad(y.square().sum(), x)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted)


def test_inductor():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), FusedGroupNormAct(2, 8, act="silu")).cuda()
    x = torch.randn(2, 3, 8, 8, device="cuda")
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x), rtol=1e-4, atol=1e-4)


def test_cuda_graphs():
    layer = FusedGroupNormAct(4, 16, act="gelu", device="cuda")
    x = torch.randn(2, 16, 8, 8, device="cuda")
    with torch.no_grad():
        expected = layer(x)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            layer(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        graph.replay()
    assert torch.equal(y, expected)
