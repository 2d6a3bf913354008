"""How many groups a group normalization gets."""

from __future__ import annotations

import pytest

from normadvisor.types.groups import group_count, shared_group_count


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (24, 12), (30, 15), (40, 20), (64, 32), (96, 32), (144, 24), (256, 32), (2048, 32), (97, 1)],
)
def test_the_largest_divisor_that_leaves_two_channels(channels, groups):
    assert group_count(channels) == groups


def test_a_smaller_limit():
    assert [group_count(64, most) for most in (1, 2, 8, 31, 64)] == [1, 2, 8, 16, 32]


@pytest.mark.parametrize(("channels", "most"), [(0, 32), (-4, 32), (8, 0)])
def test_numbers_below_one(channels, most):
    with pytest.raises(ValueError, match="counted from 1"):
        group_count(channels, most)


def test_one_number_for_several_layers():
    assert shared_group_count([8, 12, 32]) == 4
    assert shared_group_count([32]) == 32
    assert shared_group_count([8, 1]) is None
