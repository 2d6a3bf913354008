"""What the kernels of add + norm compute, against the same in float64: never more than twice as wrong as torch's own operations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.fused.add_norm.functional import add_layer_norm, add_norm_in_torch, add_rms_norm, supported
from normadvisor.fused.common.launch import overridden
from normadvisor.fused.common.reference import gradients, in_float64, relative_error

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Where torch is exact, or nearly so, a kernel may be off by some units in the last place: torch sums float32 in float64 on a CPU, kernels do not.
# The interpreter truncates where a GPU rounds to bfloat16.
# Float64 is compared with torch's own float64.
ULPS = {torch.float32: 8, torch.float64: 64, torch.bfloat16: 2, torch.float16: 2}


SHORT = {f"add_norm.forward_{limit}": {"limit": 0} for limit in (1024, 2048, 4096, 8192, 16384, 32768)}
SHORT |= {f"add_norm.backward_{limit}": {"limit": 0} for limit in (256, 1024, 2048, 4096, 8192)}
SHORT |= {"add_norm.backward_16384": {"limit": 100}, "add_norm.forward_long": {"tile": 64}, "add_norm.backward_long": {"tile": 64}}


@pytest.fixture
def few_registers():
    """As if no row fitted into registers, or none longer than 100 for the gradient of the inputs alone: the interpreter need not see long ones."""
    with overridden(SHORT):
        yield


def make(shape, dtype, device, *, scale=1.0, mean=0.0, seed=0, view=lambda tensor: tensor):
    """Two summands, of which the sum has about that scale and mean, a weight and a bias with negative entries and zeros."""
    generator = torch.Generator().manual_seed(seed)
    x, residual = (view(torch.randn(shape, generator=generator, dtype=torch.float64) * scale + mean / 2).to(device, dtype) for _ in range(2))
    weight, bias = (torch.randn(x.shape[-1:], generator=generator, dtype=torch.float64).to(device, dtype) for _ in range(2))
    weight[::3] = 0
    return [tensor.requires_grad_() for tensor in (x, residual, weight, bias)]


def fused(center, eps=1e-5):
    if center:
        return lambda x, residual, weight, bias: add_layer_norm(x, residual, weight.shape, weight, bias, eps)
    return lambda x, residual, weight, bias: add_rms_norm(x, residual, weight.shape, weight, eps)


def in_torch(center, eps=1e-5):
    return lambda x, residual, weight, bias: add_norm_in_torch(x, residual, weight.shape, (weight, bias), eps, center=center)


def compare(tensors, center, eps=1e-5, canary=None):
    """All outputs and gradients, and by how much they may be wrong."""
    x, residual, weight, bias = tensors
    assert supported(x, residual, weight.shape, weight, bias if center else None, eps, center=center) == ""
    arguments = tensors if center else [x, residual, weight, None]
    if canary:
        arguments = [argument if argument is None else canary.guard(argument) for argument in arguments]
    generator = torch.Generator().manual_seed(1)
    seeds = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device) for _ in range(2)]
    found = gradients(fused(center, eps), arguments, seeds)
    torch_found = gradients(in_torch(center, eps), tensors if center else [x, residual, weight, None], seeds)
    rounded = [seed.to(output.dtype) for seed, output in zip(seeds, torch_found, strict=False)]
    exact = gradients(in_torch(center, eps), in_float64(tensors if center else [x, residual, weight, None]), rounded)
    errors = {}
    for name, mine, theirs, right in zip(("out", "total", "dx", "dresidual", "dweight", "dbias"), found, torch_found, exact, strict=False):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), name
        floor = ULPS[mine.dtype] * torch.finfo(mine.dtype).eps
        errors[name] = (relative_error(mine, right), max(2 * relative_error(theirs, right), floor))
    assert {name: error for name, error in errors.items() if not error[0] <= error[1]} == {}


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 33), (40, 96), (3, 1000), (300, 8)], ids=str)
def test_agrees_with_float64(shape, dtype, center, device, canary):
    compare(make(shape, dtype, device), center, canary=canary)


@pytest.mark.parametrize(
    ("columns", "dtype", "center"),
    [
        (2, torch.float32, False),
        (2, torch.float64, True),
        (101, torch.float32, True),
        (101, torch.float64, False),
        (101, torch.bfloat16, True),
        (300, torch.float32, True),
        (300, torch.bfloat16, False),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_into_registers(columns, dtype, center, device, canary, few_registers):
    compare(make((20, columns), dtype, device, mean=5.0), center, canary=canary)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("columns", [8192, 65536])
def test_long_rows(columns, dtype, device, canary):
    # The interpreter takes a second for every ten thousand columns.
    compare(make((2, columns if device.type == "cuda" else columns // 8 + 1000), dtype, device), True, canary=canary)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("statistics", [(1.0, 1000.0, 1e-5), (1e-6, 0.0, 1e-12), (1e-6, 0.0, 1e-5), (1e4, 0.0, 1e-5), (0.0, 0.0, 1e-5), (0.0, 3.0, 1e-5)])
class TestAdversarialStatistics:
    """A mean of 1000, a variance of 1e-12, constant rows."""

    def test_in_registers(self, statistics, center, device):
        scale, mean, eps = statistics
        compare(make((4, 777), torch.float32, device, scale=scale, mean=mean), center, eps)

    def test_in_parts(self, statistics, center, device, few_registers):
        scale, mean, eps = statistics
        compare(make((4, 777), torch.float32, device, scale=scale, mean=mean), center, eps)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_row_and_one_column(dtype, center, device):
    for shape in ((1, 1), (1, 7), (7, 1)):
        x, residual, weight, bias = make(shape, dtype, device, mean=2.0)
        out, total = fused(center)(x, residual, weight, bias)
        expected = in_torch(center)(x, residual, weight, bias)
        torch.testing.assert_close((out, total), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shape", [(0, 16), (4, 0, 16)], ids=str)
def test_empty_batch(shape, device):
    x, residual, weight, bias = make(shape, torch.float32, device)
    found = gradients(fused(True), [x, residual, weight, bias], [torch.zeros(shape, device=device)] * 2)
    expected = gradients(in_torch(True), [x, residual, weight, bias], [torch.zeros(shape, device=device)] * 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_infinities_and_nan_come_through(device):
    x, residual, weight, bias = make((5, 24), torch.float32, device)
    with torch.no_grad():
        x[1, 3], x[2, 4], residual[3, 5] = math.inf, math.nan, -math.inf
    for center in (True, False):
        found = fused(center)(x, residual, weight, bias)
        expected = in_torch(center)(x, residual, weight, bias)
        assert [torch.equal(one.isnan(), other.isnan()) for one, other in zip(found, expected, strict=True)] == [True, True]
        assert bool(found[0][[0, 4]].isfinite().all())


LAYOUTS = {
    "slices": ((3, 4, 48), lambda tensor: tensor[..., 16:32]),
    "transposed": ((4, 3, 16), lambda tensor: tensor.transpose(0, 1)),
    "every second row": ((6, 8, 16), lambda tensor: tensor[:, ::2]),
    "offset": ((3, 49), lambda tensor: tensor.flatten()[1:145].view(3, 48)),
}


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_without_copies(layout, center, device):
    shape, view = LAYOUTS[layout]
    tensors = make(shape, torch.float32, device, view=view)
    views = [view(torch.empty(shape, device=device)).copy_(tensor.detach()).requires_grad_() for tensor in tensors[:2]]
    compare([*views, *tensors[2:]], center)
    out, total = fused(center)(*views, *tensors[2:])
    expected = in_torch(center)(*views, *tensors[2:])
    assert (out.is_contiguous(), total.stride()) == (True, expected[1].stride())


def test_reads_parts_of_slices_without_copies(device, few_registers):
    compare([torch.randn(3, 500, device=device)[:, 100:300].requires_grad_() for _ in range(2)] + make((1, 200), torch.float32, device)[2:], True)


def test_strides_of_gradients_that_come_in_do_not_matter(device):
    tensors = make((4, 6, 16), torch.float32, device)
    expanded = torch.ones((), device=device).expand(4, 6, 16)
    transposed = torch.randn(6, 4, 16, device=device).transpose(0, 1)
    found = gradients(fused(True), tensors, [expanded, transposed])
    expected = gradients(in_torch(True), tensors, [expanded, transposed])
    torch.testing.assert_close(found, expected)


def test_summands_of_two_dtypes(device):
    x, residual, weight, bias = make((5, 48), torch.float32, device)
    half = x.detach().to(torch.bfloat16).requires_grad_()
    seeds = [torch.randn(5, 48, device=device)] * 2
    found = gradients(fused(True), [half, residual, weight, bias], seeds)
    expected = gradients(in_torch(True), [half, residual, weight, bias], seeds)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_several_normalized_dimensions(device):
    x, residual = (torch.randn(3, 4, 6, 5, device=device, requires_grad=True) for _ in range(2))
    weight, bias = (torch.randn(4, 6, 5, device=device, requires_grad=True) for _ in range(2))
    seeds = [torch.randn(3, 4, 6, 5, device=device)] * 2
    found = gradients(lambda *t: add_layer_norm(*t[:2], (4, 6, 5), *t[2:]), [x, residual, weight, bias], seeds)
    expected = gradients(in_torch(True), [x, residual, weight, bias], seeds)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("center", [True, False])
def test_without_parameters(center, device):
    x, residual, _, _ = make((5, 48), torch.float32, device)
    seeds = [torch.randn(5, 48, device=device)] * 2
    function = add_layer_norm if center else add_rms_norm
    found = gradients(lambda a, b: function(a, b, (48,), eps=1e-5), [x, residual], seeds)
    expected = gradients(lambda a, b: add_norm_in_torch(a, b, (48,), (None, None), 1e-5, center=center), [x, residual], seeds)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rms_norm_without_eps(dtype, device):
    x, residual, weight, _ = make((5, 48), dtype, device, scale=1e-8)
    assert supported(x, residual, (48,), weight, None, None, center=False) == ""
    found = add_rms_norm(x, residual, (48,), weight)
    torch.testing.assert_close(found, add_norm_in_torch(x, residual, (48,), (weight, None), None, center=False))


def test_same_bits_every_time(device):
    tensors = make((300, 40), torch.float32, device)
    seeds = [torch.randn(300, 40, device=device)] * 2
    first, second = (gradients(fused(True), tensors, seeds) for _ in range(2))
    assert [torch.equal(one, other) for one, other in zip(first, second, strict=True)] == [True] * 6


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.integers(1, 40), columns=st.integers(1, 130), center=st.booleans(), long=st.booleans())
def test_any_shape(rows, columns, center, long, device):
    tensors = make((rows, columns), torch.float64, device)[: 4 if center else 3]
    arguments = tensors if center else [*tensors, None]
    seeds = [torch.linspace(-1, 2, rows * columns, dtype=torch.float64, device=device).view(rows, columns)] * 2
    with overridden(SHORT if long else {}):
        found = gradients(fused(center), arguments, seeds)
    torch.testing.assert_close(found, gradients(in_torch(center), arguments, seeds), rtol=1e-9, atol=1e-9)
