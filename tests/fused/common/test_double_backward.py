"""Second derivatives of operations whose backward pass torch cannot differentiate."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.common.double_backward import differentiate_again


def forward(x, weight):
    return (torch.tanh(x) * weight, x.detach() * 0)


def tensors(count):
    return [torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in range(count)]


def expected(x, weight, seed, d_dx, d_dweight):
    """By hand: dx = seed * weight * (1 - tanh(x)^2), dweight = seed * tanh(x)."""
    slope = 1 - torch.tanh(x) ** 2
    by_x = d_dx * seed * weight * -2 * torch.tanh(x) * slope + d_dweight * seed * slope
    return (by_x, d_dx * seed * slope), (d_dx * weight * slope + d_dweight * torch.tanh(x),)


def test_agrees_with_calculus():
    x, weight, seed, d_dx, d_dweight = tensors(5)
    inputs, (by_seed, by_other) = differentiate_again(forward, (x, weight), (seed, None), (d_dx, d_dweight))
    right = expected(x, weight, seed, d_dx, d_dweight)
    torch.testing.assert_close((inputs, (by_seed,)), right)
    assert by_other is None


def test_nothing_is_zero():
    x, weight, seed, d_dx, _ = tensors(5)
    (by_x, by_weight), (by_seed, _) = differentiate_again(forward, (x, weight), (seed, None), (d_dx, None))
    torch.testing.assert_close(((by_x, by_weight), (by_seed,)), expected(x, weight, seed, d_dx, torch.zeros(4, dtype=torch.float64)))
    assert differentiate_again(forward, (x, weight), (seed, None), (None, None)) == ((None, None), (None, None))


def test_missing_inputs_stay_missing():
    x, _, seed, d_dx, _ = tensors(5)
    (by_x, nothing), _ = differentiate_again(lambda x, weight: (x**2 if weight is None else x,), (x, None), (seed,), (d_dx, None))
    torch.testing.assert_close(by_x, 2 * d_dx * seed)
    assert nothing is None


@pytest.mark.parametrize("recorded", [True, False])
def test_results_are_connected_where_gradients_are_recorded(recorded):
    x, weight, seed, d_dx, d_dweight = tensors(5)
    x.requires_grad_()
    with torch.set_grad_enabled(recorded):
        (by_x, _), _ = differentiate_again(forward, (x, weight), (seed, None), (d_dx, d_dweight))
    assert by_x.requires_grad is recorded
    if recorded:
        (third,) = torch.autograd.grad(by_x.sum(), x)
        (right,) = torch.autograd.grad(expected(x, weight, seed, d_dx, d_dweight)[0][0].sum(), x)
        torch.testing.assert_close(third, right)
