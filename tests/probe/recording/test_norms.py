from __future__ import annotations

import math

import pytest
import torch

from normadvisor.probe.recording.norms import channel_moments, flat, real, some_squares, squares


def _reference(tensor: torch.Tensor) -> float:
    dense = tensor.to_dense() if tensor.is_sparse else tensor
    dense = dense.abs() if dense.is_complex() else dense
    return float(dense.double().square().sum())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3),
        torch.randn(1023),
        torch.randn(1024),
        torch.randn(5000, 7),
        torch.rand(4_000_000) + 100,
        torch.randn(2, 64, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(40, 50).t(),
        torch.randn(40, 50)[::2, ::3],
        torch.randn(6, 1).expand(6, 300),
        torch.randn(3000) * 1e-25,
        torch.randn(3000) * 1e25,
        torch.cat([torch.full((5000,), 1e-22), torch.full((5,), 1e-12)]),
        torch.randn(3000, dtype=torch.float64) * 1e-120,
        torch.randn(100, 40, dtype=torch.complex64),
        torch.randn(100, 40, dtype=torch.complex128).conj(),
        torch.randn(9000).bfloat16(),
        torch.randn(9000).half() * 1e-4,
        torch.zeros(9000),
        torch.zeros(0, 4),
        torch.tensor(-3.0),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{list(tensor.shape)}",
)
def test_sums_of_squares_agree_with_float64(tensor: torch.Tensor):
    total, nonfinite = squares(tensor)
    assert (total, nonfinite) == (pytest.approx(_reference(tensor), rel=4e-6), 0)


def test_a_plain_float32_norm_would_not_do():
    tensor = torch.rand(4_000_000) + 100
    plain = float(torch.linalg.vector_norm(tensor)) ** 2
    assert abs(plain / _reference(tensor) - 1) > 1e-5


def test_places_that_occur_twice_in_a_sparse_gradient_count_once():
    sparse = torch.sparse_coo_tensor(torch.tensor([[1, 1, 4]]), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), (6, 2), check_invariants=False)
    assert squares(sparse) == (pytest.approx(4.0**2 + 6.0**2 + 5.0**2 + 6.0**2), 0)


def test_values_that_are_not_finite_are_counted():
    tensor = torch.ones(5000)
    tensor[[3, 2000]] = math.nan
    tensor[4999] = math.inf
    total, nonfinite = squares(tensor)
    assert math.isnan(float(total))
    assert nonfinite == 3
    total, nonfinite = squares(torch.tensor([1.0, -math.inf]))
    assert (total, nonfinite) == (math.inf, 1)


def test_all_values_in_any_order_without_a_copy():
    for tensor in (torch.randn(3, 4), torch.randn(3, 4).t(), torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)):
        values = flat(tensor)
        assert values.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
        assert torch.equal(values.sort().values, tensor.flatten().sort().values)


def test_complex_numbers_are_pairs():
    assert real(torch.tensor([1 + 2j])).tolist() == [[1.0, 2.0]]


def test_an_estimate_of_a_large_tensor_is_close_and_of_a_small_one_exact():
    large = torch.randn(64, 128, 28, 28) * torch.rand(64, 128, 1, 1)
    estimates = [float(some_squares(large, first)) / _reference(large) for first in range(5)]
    assert estimates == pytest.approx([1.0] * 5, rel=0.02)
    assert len(set(estimates)) == 5
    small = torch.randn(1000, 1000)
    assert some_squares(small, 3) == squares(small)[0]


def test_an_estimate_of_tiny_values_does_not_underflow():
    assert float(some_squares(torch.full((1 << 20,), 1e-25), 0)) == pytest.approx(2**20 * 1e-50, rel=1e-5)


def test_moments_by_channel():
    for tensor in (torch.randn(6, 5) + 3, torch.randn(6, 5, 7, 3) * 4 - 1, torch.randn(6, 5, 7).half()):
        mean, variance = channel_moments(tensor)
        rows = tensor.double().movedim(1, 0).flatten(1)
        assert mean.tolist() == pytest.approx(rows.mean(1).tolist(), rel=1e-5)
        assert variance.tolist() == pytest.approx(rows.var(1).tolist(), rel=1e-4)
