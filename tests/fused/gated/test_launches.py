"""How a matrix is divided into tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.fused.gated.launches import tile_launch


@pytest.mark.parametrize(
    ("rows", "columns", "distances", "expected"),
    [
        (1, 2**31, (2**31,), (16, 1, 2048, 2**20)),
        (8192, 11008, (22016, 22016), (16, 1, 2048, 6 * 8192)),
        (65536, 64, (128,), (16, 32, 64, 2048)),
        (8192, 1000, (2000,), (8, 2, 1024, 4096)),
        # Five tiles without a lane too many, not one with a third of them.
        (8192, 1280, (2560,), (16, 8, 256, 5120)),
        (8192, 1001, (2002,), (1, 1, 1024, 8192)),
        (1, 4096, (4096,), (16, 1, 1024, 4)),
        (1, 1, (1,), (1, 1, 1, 1)),
    ],
)
def test_tiles(rows, columns, distances, expected):
    found = tile_launch("forward", rows, columns, distances, torch.float32, 132)
    assert (found.unit, found.height, found.width, found.tiles) == expected


def test_float64_takes_twice_the_registers():
    assert tile_launch("forward", 1, 2**30, (2**30,), torch.float64, 132).width == 1024


@given(rows=st.integers(1, 10**5), columns=st.integers(1, 10**5), distance=st.integers(0, 100))
def test_tiles_cover_the_matrix(rows, columns, distance):
    found = tile_launch("backward", rows, columns, (columns + distance, columns), torch.float32, 132)
    down = found.tiles // found.strips
    assert (found.strips - 1) * found.width < columns <= found.strips * found.width
    assert (down - 1) * found.height < rows <= down * found.height
    assert [number % found.unit for number in (columns, distance)] == [0, 0]
