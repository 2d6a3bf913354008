"""How rows lie in memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.fused.common.rows import memory_order, packed, product, row_distance

BASE = torch.zeros(4, 6, 48)


@pytest.mark.parametrize(("lengths", "expected"), [((), 1), ((3,), 3), ((2, 0, 5), 0), ((2, 3, 4), 24)])
def test_product(lengths, expected):
    assert product(lengths) == expected


@pytest.mark.parametrize(
    ("shape", "strides", "innermost", "expected"),
    [((2, 3), (3, 1), 1, True), ((2, 3), (6, 2), 2, True), ((2, 3), (4, 1), 1, False), ((2, 1, 3), (3, 99, 1), 1, True), ((), (), 1, True)],
)
def test_packed(shape, strides, innermost, expected):
    assert packed(shape, strides, innermost) is expected


@pytest.mark.parametrize(
    ("tensor", "trailing", "expected"),
    [
        (BASE, 1, 48),
        (BASE, 2, 288),
        (BASE[..., :16], 1, 48),
        (BASE[:, ::3], 1, 144),
        (BASE[:, :5], 1, None),
        (BASE[:, :5], 2, 288),
        (BASE[1, :, 3:7], 1, 48),
        (BASE[1, 2, 3:7], 1, 4),
        (BASE.transpose(0, 1), 1, None),
        (BASE.transpose(1, 2), 1, None),
        (BASE[..., ::2], 1, None),
        (torch.zeros(48).expand(6, 48), 1, None),
    ],
)
def test_row_distance(tensor, trailing, expected):
    assert row_distance(tensor, trailing) == expected


@pytest.mark.parametrize(
    ("tensor", "leading", "expected"),
    [
        (BASE, None, [0, 1, 2]),
        (BASE.permute(2, 0, 1), None, [1, 2, 0]),
        (BASE.permute(1, 0, 2), 2, [1, 0, 2]),
        (BASE.permute(2, 0, 1), 2, None),
        (BASE[..., :16], None, None),
        (torch.zeros(2, 1, 3).permute(1, 2, 0), None, [2, 0, 1]),
        (torch.zeros(()), None, []),
    ],
)
def test_memory_order(tensor, leading, expected):
    assert memory_order(tensor, leading) == expected


@given(shape=st.lists(st.integers(1, 5), max_size=5), data=st.data())
def test_memory_order_undoes_any_permutation(shape, data):
    tensor = torch.zeros(shape).permute(data.draw(st.permutations(range(len(shape)))))
    order = memory_order(tensor)
    assert order is not None
    assert tensor.permute(order).is_contiguous()
