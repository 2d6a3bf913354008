"""How rows are distributed over programs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.fused.add_norm.launches import backward_launch, forward_launch, partial_programs
from normadvisor.fused.common.launch import overridden

H100 = 132


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (1, (True, 1, 2048)),
        (96, (True, 128, 16)),
        (768, (True, 1024, 2)),
        (2048, (True, 2048, 1)),
        (5120, (True, 8192, 1)),
        (32768, (True, 32768, 1)),
        (32769, (False, 8192, 1)),
    ],
)
def test_forward(columns, expected):
    found = forward_launch(10**6, columns, torch.float32, H100)
    assert (found.whole, found.block, found.height) == expected


@pytest.mark.parametrize(
    ("columns", "sums", "expected"),
    [
        (96, True, (True, True, 128, 8)),
        (1024, True, (True, True, 1024, 1)),
        (8192, True, (True, True, 8192, 1)),
        (8192, False, (True, False, 8192, 1)),
        (8193, True, (True, False, 16384, 1)),
        (16385, True, (False, False, 8192, 1)),
    ],
)
def test_backward(columns, sums, expected):
    found = backward_launch(10**6, columns, (torch.bfloat16, torch.float32), H100, sums=sums)
    assert (found.whole, found.sums, found.block, found.height) == expected


def test_backward_of_long_rows_in_float32():
    assert backward_launch(10**6, 8192, (torch.float32, torch.float32), H100, sums=True).whole
    assert not backward_launch(10**6, 8193, (torch.float32, torch.float32), H100, sums=True).whole


def test_float64_takes_twice_the_registers():
    assert forward_launch(10**6, 16384, torch.float64, H100).whole
    assert not forward_launch(10**6, 16385, torch.float64, H100).whole
    assert forward_launch(10**6, 96, torch.float64, H100).height == 8


def test_few_rows_are_spread_over_the_gpu():
    assert [forward_launch(rows, 64, torch.float32, H100).height for rows in (100000, 2000, 264, 1)] == [32, 4, 1, 1]


def test_numbers_can_be_overridden():
    with overridden({"add_norm.forward_1024": {"tile": 4096, "num_warps": 8}}):
        found = forward_launch(10**6, 1024, torch.float32, H100)
    assert (found.height, found.launch.num_warps) == (4, 8)


@given(tiles=st.integers(1, 10**6), programs=st.integers(1, 16), multiprocessors=st.integers(1, 200))
def test_every_multiprocessor_works_and_partial_sums_stay_few(tiles, programs, multiprocessors):
    count = partial_programs(tiles, programs, multiprocessors)
    each = math.ceil(tiles / count)
    assert 1 <= count <= min(tiles, programs * multiprocessors)
    # No program fewer would do for as many tiles each.
    assert count == math.ceil(tiles / each)
    if tiles >= multiprocessors:
        assert count > multiprocessors / 2
