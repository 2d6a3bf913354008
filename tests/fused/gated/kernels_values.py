"""What the kernels of gated activations compute, against the same in float64: never more than twice as wrong as torch's own operations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.fused.common.activations import ACTIVATIONS
from normadvisor.fused.common.reference import gradients, in_float64, relative_error
from normadvisor.fused.gated import gated, gated_packed
from normadvisor.fused.gated.functional import gated_in_torch, packed_in_torch, supported, supported_packed

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Where torch is exact, or nearly so, a kernel may be off by some units in the last place. The interpreter truncates where a GPU rounds to bfloat16.
ULPS = {torch.float32: 8, torch.float64: 8, torch.bfloat16: 2, torch.float16: 2}


def make(shape, dtype, device, seed=0, view=lambda tensor: tensor):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * 3
    return view(values.to(device, dtype)).requires_grad_()


def compare(function, in_torch, tensors, canary=None):
    """Output and gradients, and by how much they may be wrong."""
    expected = gradients(in_torch, tensors, [torch.ones_like(in_torch(*tensors))])
    seed = torch.randn(expected[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(tensors[0].device, expected[0].dtype)
    guarded = [canary.guard(tensor) for tensor in tensors] if canary else tensors
    found = gradients(function, guarded, [seed])
    expected = gradients(in_torch, tensors, [seed])
    exact = gradients(in_torch, in_float64(tensors), [seed])
    errors = []
    for mine, theirs, right in zip(found, expected, exact, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        floor = ULPS[mine.dtype] * torch.finfo(mine.dtype).eps
        errors.append((relative_error(mine, right), max(2 * relative_error(theirs, right), floor)))
    assert [error for error in errors if not error[0] <= error[1]] == []
    assert found[0].stride() == expected[0].stride()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation(act, dtype, device, canary):
    tensors = [make((3, 7, 40), dtype, device, seed) for seed in range(2)]
    assert supported(*tensors, act) == ""
    compare(lambda gate, up: gated(gate, up, act), lambda gate, up: gated_in_torch(gate, up, act), tensors, canary)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gate_last", [True, False])
@pytest.mark.parametrize("act", ["silu", "gelu", "gelu_tanh"])
def test_every_activation_of_halves(act, gate_last, dtype, device, canary):
    x = make((3, 7, 66), dtype, device)
    assert supported_packed(x, act) == ""
    compare(lambda x: gated_packed(x, act, gate_last=gate_last), lambda x: packed_in_torch(x, act, gate_last=gate_last), [x], canary)


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "permuted"])
def test_halves_along_any_dimension(dim, layout, device, canary):
    views = {
        "contiguous": lambda x: x,
        "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
        "permuted": lambda x: x.permute(2, 0, 3, 1),
    }
    x = views[layout](make((2, 6, 4, 8), torch.float32, device).detach()).requires_grad_()
    assert supported_packed(x, "silu", dim) == ""
    compare(lambda x: gated_packed(x, "silu", dim), lambda x: packed_in_torch(x, "silu", dim), [x], canary)


LAYOUTS = {
    "halves of one tensor": lambda a, b: a.chunk(2, -1),
    "the same permutation": lambda a, b: (a.transpose(0, 1), b.transpose(0, 1)),
    "channels last": lambda a, b: (a[None].contiguous(memory_format=torch.channels_last), b[None].contiguous(memory_format=torch.channels_last)),
    "a slice and a contiguous one": lambda a, b: (a[..., :24], b[..., 24:].contiguous()),
    "no dimension": lambda a, b: (a[0, 0, 0], b[0, 0, 0]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_without_copies(layout, device):
    tensors = [tensor.detach().requires_grad_() for tensor in LAYOUTS[layout](*(make((3, 5, 48), torch.float32, device, seed) for seed in range(2)))]
    assert supported(*tensors, "silu") == ""
    compare(lambda gate, up: gated(gate, up, "silu"), lambda gate, up: gated_in_torch(gate, up, "silu"), tensors)


def test_strides_of_gradients_that_come_in_do_not_matter(device):
    gate, up, x = make((4, 6, 8), torch.float32, device), make((4, 6, 8), torch.float32, device, 1), make((4, 6, 16), torch.float32, device)
    for seed in (torch.ones((), device=device).expand(4, 6, 8), torch.randn(6, 4, 8, device=device).transpose(0, 1), torch.randn(4, 6, 16, device=device)[..., ::2]):
        torch.testing.assert_close(gradients(lambda *t: gated(*t, "gelu"), [gate, up], [seed]), gradients(lambda *t: gated_in_torch(*t, "gelu"), [gate, up], [seed]))
        torch.testing.assert_close(gradients(lambda x: gated_packed(x, "gelu"), [x], [seed]), gradients(lambda x: packed_in_torch(x, "gelu"), [x], [seed]))


@pytest.mark.parametrize("shape", [(0,), (3, 0, 4)], ids=str)
def test_empty(shape, device):
    tensors = [make(shape, torch.float32, device, seed) for seed in range(2)]
    compare(lambda gate, up: gated(gate, up, "silu"), lambda gate, up: gated_in_torch(gate, up, "silu"), tensors)
    compare(lambda x: gated_packed(x, "silu"), lambda x: packed_in_torch(x, "silu"), [make((*shape[:-1], 2 * shape[-1]), torch.float32, device)])


def test_two_dtypes(device):
    tensors = [make((5, 48), torch.bfloat16, device), make((5, 48), torch.float32, device, 1)]
    found = gradients(lambda *t: gated(*t, "silu"), tensors, [torch.ones(5, 48, device=device)])
    expected = gradients(lambda *t: gated_in_torch(*t, "silu"), tensors, [torch.ones(5, 48, device=device)])
    assert [tensor.dtype for tensor in found] == [torch.float32, torch.bfloat16, torch.float32]
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("act", ["silu", "gelu", "gelu_tanh", "relu", "hardswish", "mish"])
def test_far_out(act, device):
    gate = torch.tensor([-1e10, -1000.0, -100.0, -30.0, 30.0, 100.0, 1000.0], device=device, requires_grad=True)
    up = torch.full((7,), 2.0, device=device, requires_grad=True)
    found = gradients(lambda *t: gated(*t, act), [gate, up], [torch.ones(7, device=device)])
    expected = gradients(lambda *t: gated_in_torch(*t, act), [gate, up], [torch.ones(7, device=device)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert bool(gated(gate.detach() * math.nan, up, act).isnan().all())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), last=st.integers(1, 300), data=st.data())
def test_any_shape(shape, last, data, device):
    dim = data.draw(st.integers(0, len(shape)))
    sizes = [*shape, last]
    sizes[dim] *= 2
    x = make(sizes, torch.float64, device)
    order = data.draw(st.permutations(range(len(sizes))))
    x = x.detach().permute(order).requires_grad_()
    dim = order.index(dim)
    found = gradients(lambda x: gated_packed(x, "silu", dim), [x], [torch.ones_like(packed_in_torch(x, "silu", dim))])
    torch.testing.assert_close(found, gradients(lambda x: packed_in_torch(x, "silu", dim), [x], [torch.ones_like(packed_in_torch(x, "silu", dim))]))
