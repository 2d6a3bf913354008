from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.report.measured.numbers import Band, amount, band, decades, duration, loss, number, share, superscript, typical
from normadvisor.types import LayerMeasurements

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "\u2013"), (NAN, "NaN"), (INF, "inf"), (-INF, "-inf"), (0.0, "0"), (-0.0, "0"), (1.0, "1"), (0.0123456, "0.0123"), (-2.5, "-2.5"),
        (999.4, "999"), (999.6, "1000"), (12345.6, "12346"), (99999.9, "100000"), (1e5, "1e5"), (1.25e7, "1.2e7"), (1e-3, "0.001"), (9.99e-4, "1e-3"), (1.5e-7, "1.5e-7"), (-3e-12, "-3e-12"), (5e-324, "4.9e-324"),
    ],
)  # fmt: skip
def test_number(value, words):
    assert number(value) == words


@given(st.floats(-1e307, 1e307))
def test_number_reads_back_to_two_digits(value):
    read = float(number(value))
    assert read == value or abs(read - value) <= 0.051 * abs(value) or abs(value) < 1e-300


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\u2013"), (NAN, "NaN"), (0.0, "0\u00a0%"), (0.001, "<1\u00a0%"), (0.005, "<1\u00a0%"), (0.006, "1\u00a0%"), (0.5, "50\u00a0%"), (0.994, "99\u00a0%"), (0.999, ">99\u00a0%"), (1.0, "100\u00a0%")],
)  # fmt: skip
def test_share(value, words):
    assert share(value) == words


@pytest.mark.parametrize(("value", "words"), [(2.302585, "2.303"), (10.9, "10.9"), (0.00012, "1.2e-4"), (None, "\u2013"), (NAN, "NaN"), (5e6, "5e6"), (0.0, "0")])
def test_loss(value, words):
    assert loss(value) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0"), (950, "950"), (1000, "1\u00a0k"), (25_557_032, "25.6\u00a0M"), (999_700, "1\u00a0M"), (7_000_000_000, "7\u00a0G")])
def test_amount(count, words):
    assert amount(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "\u2013"), (0.0123, "12.3\u00a0ms"), (0.9996, "1.0\u00a0s"), (1.25, "1.2\u00a0s"), (59.96, "1\u00a0min"), (185.0, "3\u00a0min 5\u00a0s"), (INF, "inf")],
)  # fmt: skip
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_superscript():
    assert [superscript(exponent) for exponent in (-12, -1, 0, 1, 30)] == ["10\u207b\u00b9\u00b2", "10\u207b\u00b9", "1", "10\u00b9", "10\u00b3\u2070"]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ((), Band(None, None, None, zero=False, broken=False)),
        ((None, None), Band(None, None, None, zero=False, broken=False)),
        ((1.0, 3.0, 2.0), Band(1.0, 2.0, 3.0, zero=False, broken=False)),
        ((1.0, 100.0), Band(1.0, 10.0, 100.0, zero=False, broken=False)),
        ((NAN, 2.0, None, 0.0), Band(2.0, 2.0, 2.0, zero=True, broken=True)),
        ((0.0, 0.0), Band(None, None, None, zero=True, broken=False)),
        ((-1.0, INF), Band(None, None, None, zero=False, broken=True)),
    ],
)
def test_band(series, expected):
    assert band(series) == expected
    assert band(series).measured is (expected != Band(None, None, None, zero=False, broken=False))


@given(st.lists(st.lists(st.none() | st.floats(), max_size=5), max_size=5))
def test_decades_hold_all_numbers(lists):
    bands = [band(series) for series in lists]
    low, high = decades(bands)
    assert high - low >= 2
    for item in bands:
        if item.low is not None and item.high is not None:
            assert math.log10(item.low) >= low - 1e-6
            assert math.log10(item.high) <= high + 1e-6


def test_decades_of_nothing_and_of_one_number():
    assert decades([]) == (-3, 0)
    assert decades([band((1.0,))]) == (-1, 1)
    assert decades([band((1.0,))], include=(1e-4, 1e-1)) == (-4, 0)


def test_typical_leaves_out_what_is_not_finite():
    layer = LayerMeasurements(name="a", cls="Linear", series={"x": (0.1, NAN, 0.3, None), "y": (None, INF), "z": (None,)})
    assert [typical(layer, key) for key in "xyzw"] == [0.2, INF, None, None]
