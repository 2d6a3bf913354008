"""Which tensors are read where they are, as what matrices."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.gated.layout import matrix_of, split_of

BASE = torch.arange(4 * 6 * 48.0).view(4, 6, 48)
LAST = torch.zeros(2, 6, 4, 8).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("gate", "up", "expected"),
    [
        (BASE, BASE.clone(), (1, 1152, 1152, 1152)),
        (BASE[..., :24], BASE[..., 24:], (24, 24, 48, 48)),
        (BASE[..., :24], torch.zeros(4, 6, 24), (24, 24, 48, 24)),
        (LAST, LAST.clone(), (1, 384, 384, 384)),
        (BASE.transpose(1, 2), BASE.clone().transpose(1, 2), (1, 1152, 1152, 1152)),
        (BASE.transpose(1, 2), torch.zeros(4, 48, 6), None),
        (LAST, torch.zeros(2, 6, 4, 8), None),
        (LAST[:, :3], LAST[:, 3:], None),
        (torch.tensor(1.0), torch.tensor(2.0), (1, 1, 1, 1)),
        (torch.zeros(8)[::2], torch.zeros(8)[::2], None),
        (torch.zeros(0, 8), torch.zeros(0, 8), (1, 0, 0, 0)),
    ],
)
def test_matrices(gate, up, expected):
    found = matrix_of(gate, up)
    assert (found and (found.rows, found.columns, found.gate_distance, found.up_distance)) == expected


@pytest.mark.parametrize(
    ("x", "dim", "expected"),
    [
        (BASE, 2, (24, 24, (0, 1, 2))),
        (BASE, 1, (4, 144, (0, 1, 2))),
        (BASE, 0, (1, 576, (0, 1, 2))),
        (BASE.transpose(1, 2), 1, (24, 24, (0, 2, 1))),
        (LAST, 1, (64, 3, (0, 2, 3, 1))),
        (LAST, 2, (2, 96, (0, 2, 3, 1))),
        (BASE[..., :24], 2, None),
    ],
)
def test_splits(x, dim, expected):
    found = split_of(x, dim)
    assert (found and (found.rows, found.columns, found.order)) == expected


@pytest.mark.parametrize(("x", "dim"), [(BASE, 2), (BASE, 0), (BASE.transpose(1, 2), 1), (LAST, 1), (LAST, 3)])
def test_results_lie_as_those_of_torch(x, dim):
    split = split_of(x, dim)
    first, second = x.chunk(2, dim)
    expected = first * second
    assert (split.empty(x, dim).shape, split.empty(x, dim).stride()) == (expected.shape, expected.stride())
    assert split.like_result(expected, x, dim) is expected
    copied = split.like_result(torch.ones(expected.shape), x, dim)
    assert (copied.stride(), bool(copied.eq(1).all())) == (expected.stride(), True)
    assert [torch.equal(*pair) for pair in zip(split.halves(x, dim, gate_last=True), (second, first), strict=True)] == [True, True]
