from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.fused.group_norm.plan import Grouped, Shape, Split, next_power, plan, split


def shape(samples, channels, groups, positions, *, last=False, itemsize=2):
    return Shape(
        samples=samples, channels=channels, groups=groups, positions=positions, channels_last=last, itemsize=itemsize, multiprocessors=132
    )


def test_a_group_that_fits_is_read_once():
    assert plan(shape(16, 1280, 32, 64)) == Grouped(r=1, d=64, s=64, loop=False, num_warps=8, programs=512)


def test_small_groups_are_gathered_while_there_are_programs_for_all_multiprocessors():
    assert plan(shape(64, 2048, 2048, 49)) == Grouped(r=16, d=1, s=64, loop=False, num_warps=2, programs=8192)
    assert plan(shape(1, 64, 64, 49)) == Grouped(r=1, d=1, s=64, loop=False, num_warps=1, programs=64)


def test_many_groups_that_stay_in_the_cache_are_streamed():
    assert plan(shape(16, 320, 32, 4096)) == Grouped(r=1, d=2, s=4096, loop=True, num_warps=8, programs=512)


def test_few_large_groups_are_split():
    large = shape(1, 128, 32, 512 * 512)
    assert plan(large) is None
    assert split(large, "statistics") == Split(c=1, s=4096, tiles=8, chunks=8, num_warps=8, num_stages=1, programs=1024)
    assert split(large, "apply") == Split(c=1, s=4096, tiles=4, chunks=16, num_warps=8, num_stages=1, programs=2048)


def test_backward_reads_two_tensors_so_that_less_fits():
    both = shape(16, 320, 32, 4096)
    assert plan(both) is not None
    assert plan(both, backward=True) is None


def test_neighbouring_channels_are_read_together():
    last = shape(16, 320, 32, 4096, last=True)
    assert plan(last) is None
    assert split(last, "statistics") == Split(c=64, s=64, tiles=5, chunks=13, num_warps=8, num_stages=1, programs=1040)
    assert split(shape(16, 640, 32, 1024, last=True), "apply").c == 128
    # Two channels of two bytes are less than memory moves at a time: 16 groups are taken together.
    assert plan(shape(256, 64, 32, 16, last=True)) == Grouped(r=16, d=2, s=16, loop=False, num_warps=1, programs=512)


@pytest.mark.parametrize(("positions", "expected"), [(4096, 4096), (3136, 512), (784, 128), (49, 64), (1, 1), (5000, 1024), (100_000, 4096)])
def test_tiles_fit_the_positions(positions, expected):
    assert split(shape(64, 256, 1, positions), "sums").s == expected


sizes = st.builds(
    lambda samples, groups, depth, positions, last, itemsize: shape(samples, groups * depth, groups, positions, last=last, itemsize=itemsize),
    st.integers(1, 300),
    st.integers(1, 2048),
    st.integers(1, 4096),
    st.integers(1, 2**22),
    st.booleans(),
    st.sampled_from([2, 4, 8]),
)


@given(sizes, st.booleans())
def test_grouped_plans_cover_everything_and_fit(size, backward):
    found = plan(size, backward=backward)
    if found is None:
        return
    for number in (found.r, found.d, found.s, found.num_warps):
        assert number == next_power(number)
    covered = found.programs * found.r if not size.channels_last else found.programs // size.samples * found.r
    assert covered >= (size.groups if size.channels_last else size.rows)
    assert found.loop or (found.d >= size.depth and found.s >= size.positions)
    assert found.r * found.d * found.s <= 16384
    assert found.programs < 2**31


@given(sizes, st.sampled_from(["statistics", "apply", "sums", "gradient"]))
def test_split_plans_cover_everything_once(size, name):
    found = split(size, name)
    assert (found.c, found.s) == (next_power(found.c), next_power(found.s))
    assert found.c * found.s <= 4096
    assert found.chunks * found.tiles * found.s >= size.positions
    assert (found.chunks - 1) * found.tiles * found.s < size.positions
    assert found.programs == size.samples * ceil(size.channels / found.c) * found.chunks
