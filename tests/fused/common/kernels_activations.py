"""Activations inside kernels against torch's own, in value and derivative."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from normadvisor.fused.common.activations import ACTIVATIONS, activation
from normadvisor.fused.common.triton_activations import activate, activation_derivative


@triton.jit
def evaluate(x_ptr, y_ptr, d_ptr, size, slope, ACT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    keep = at < size
    x = tl.load(x_ptr + at, mask=keep)
    tl.store(y_ptr + at, activate(x, slope, ACT), mask=keep)
    tl.store(d_ptr + at, activation_derivative(x, slope, ACT), mask=keep)


SPECIAL = [0.0, -0.0, -3.0, 3.0, 6.0, 20.0, 100.0, -100.0, 1e-30, float("inf"), float("nan")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives(name, dtype, device):
    generator = torch.Generator().manual_seed(1)
    x = torch.cat([torch.tensor(SPECIAL), torch.randn(300, generator=generator) * 4]).to(device, dtype).requires_grad_()
    y, d = torch.full_like(x, 7.0), torch.full_like(x, 7.0)
    evaluate[(1,)](x.detach(), y, d, x.numel(), 0.25, name, 512)
    exact = x.detach().double().requires_grad_()
    expected = activation(name, exact, 0.25)
    (slope,) = torch.autograd.grad(expected.sum(), exact) if name != "none" else (torch.ones_like(exact),)
    tolerance = 5e-7 if dtype == torch.float32 else 1e-15
    # The derivative of a smooth activation at infinity is 0 times infinity, in torch's formulas as in these.
    # At the kinks of hardswish versions of torch differ.
    finite = exact.isfinite() & ((exact.abs() != 3) | (name != "hardswish"))
    torch.testing.assert_close(y.double(), expected.detach(), rtol=tolerance, atol=tolerance, equal_nan=True)
    torch.testing.assert_close(d.double()[finite], slope[finite], rtol=4 * tolerance, atol=4 * tolerance)
