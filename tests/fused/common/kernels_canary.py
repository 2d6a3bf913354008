"""The guard bands of tests find what they are for."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from normadvisor.fused.common import buffers


@triton.jit
def fill(x_ptr, first, count, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + first + at, 1.0, mask=at < count)


@pytest.mark.parametrize(("first", "count"), [(0, 13), (-1, 12), (5, 12)])
def test_stores_beside_a_buffer_are_found(first, count, canary, device):
    x = buffers.empty((12,), torch.float32, device)
    fill[(1,)](x, first, count, BLOCK=16)
    with pytest.raises(AssertionError, match="stored outside of a buffer"):
        canary.check()
    canary.guarded.clear()


def test_stores_inside_are_fine_and_what_is_not_written_is_not_a_number(canary, device):
    x = buffers.empty_like(torch.zeros(3, 4, device=device).t(), torch.float64)
    fill[(1,)](x, 0, 11, BLOCK=16)
    canary.check()
    assert (x.stride(), int(x.isnan().sum()), int((x == 1).sum())) == ((1, 4), 1, 11)


def test_guarded_inputs_keep_values_and_strides(canary, device):
    x = torch.arange(12.0, device=device).reshape(3, 4).t().requires_grad_()
    guarded = canary.guard(x)
    assert (torch.equal(guarded, x), guarded.stride(), guarded.requires_grad) == (True, (1, 4), True)
    fill[(1,)](guarded.detach(), -1, 1, BLOCK=16)
    with pytest.raises(AssertionError, match="stored outside of a buffer"):
        canary.check()
    canary.guarded.clear()
