"""Tensors as large as those of real networks: on a GPU only."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from normadvisor.fused.batch_norm.functional import batch_norm_act
from normadvisor.fused.common.reference import relative_error

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter is too slow: large tensors were NOT tested")


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=["first", "last"])
@pytest.mark.parametrize("shape", [(64, 64, 112, 112), (64, 256, 56, 56), (64, 512, 28, 28), (64, 1024, 14, 14), (64, 2048, 7, 7), (32, 24, 112, 112), (4096, 1000, 1, 1)], ids=str)
def test_layers_of_real_networks(draw, compare, shape, order):
    batch = draw(shape, order="last" if order is torch.channels_last else "first", dtype=torch.bfloat16, parameters=torch.float32, act="relu", residual=True)
    compare(batch)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=["first", "last"])
def test_more_entries_than_32_bits_can_count(device, order):
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of GPU memory: offsets beyond 32 bits were NOT tested")
    torch.manual_seed(0)
    x = torch.empty((4, 40, 4096, 3400), dtype=torch.bfloat16, device=device, memory_format=order).normal_(3, 2).requires_grad_()
    weight, bias = torch.ones(40, device=device, requires_grad=True), torch.zeros(40, device=device, requires_grad=True)
    assert x.numel() > 2**31

    y = batch_norm_act(x, None, None, weight, bias, training=True, act="silu")
    dx, dweight, dbias = torch.autograd.grad(y, [x, weight, bias], x.detach())

    for channel in (0, 39):
        part = x.detach()[:, channel : channel + 1].double().requires_grad_()
        factor, shift = torch.ones(1, device=device, dtype=torch.float64, requires_grad=True), torch.zeros(1, device=device, dtype=torch.float64, requires_grad=True)
        exact = F.silu(F.batch_norm(part, None, None, factor, shift, True))
        expected = torch.autograd.grad(exact, [part, factor, shift], part.detach())
        found = (dx[:, channel : channel + 1], dweight[channel : channel + 1], dbias[channel : channel + 1])
        errors = [relative_error(y.detach()[:, channel : channel + 1], exact.detach()), *(relative_error(*pair) for pair in zip(found, expected, strict=True))]
        assert [error for error, allowed in zip(errors, (0.01, 0.01, 1e-4, 1e-4), strict=True) if error > allowed] == []
