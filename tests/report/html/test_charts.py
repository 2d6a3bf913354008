"""Shapes of charts: where things stand."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.report.html.axes import depth_labels, fixed, linear_scale, log_scale
from normadvisor.report.html.curves import Level, curve_plot, sparkline
from normadvisor.report.html.depth import Depth, depth_plot
from normadvisor.report.html.heat import heat_map
from normadvisor.report.html.markup import tag, text
from normadvisor.report.measured.health import Health
from normadvisor.report.measured.stages import Stage
from normadvisor.types import LayerMeasurements


def depth(*series, key="x", ops=()):
    layers = tuple(
        LayerMeasurements(name=str(order), cls="c", order=order, parameters=1, op=ops[order] if ops else None, series={key: values})
        for order, values in enumerate(series)
    )
    return Depth(layers=layers, parts=(), zones=(), health=Health())


def shapes(markup):
    return re.findall(r'<path class="([^"]+)" d="([^"]*)"', str(markup))


def test_elements_are_escaped():
    assert tag("a", "<b>", tag("i", "&"), href='"x"', aria_label="y", none=None, class_="z") == (
        '<a href="&#34;x&#34;" aria-label="y" class="z">&lt;b&gt;<i>&amp;</i></a>'
    )
    assert tag("br") == "<br/>"
    assert text("a\n<", "5%", 3, "tick") == '<text class="tick" x="5%" y="3">a &lt;</text>'


def test_fixed():
    assert [fixed(value) for value in (0.0, 1.0, 0.5, 1 / 3, -0.001, 100.0)] == ["0", "1", "0.5", "0.33", "0", "100"]


def test_a_logarithmic_axis():
    scale = log_scale(-4, 0)
    assert [(tick.y, tick.label) for tick in scale.ticks] == [(0, "1"), (25, "10\u207b\u00b9"), (50, "10\u207b\u00b2"), (75, "10\u207b\u00b3"), (100, "10\u207b\u2074")]
    assert scale.y(1e-2) == 50
    assert [tick.label for tick in log_scale(-40, 0).ticks] == ["1", "10\u207b\u2078", "10\u207b\u00b9\u2076", "10\u207b\u00b2\u2074", "10\u207b\u00b3\u00b2", "10\u207b\u2074\u2070"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 10], ["0", "5", "10"]), ([2.31, 2.306], ["2.1", "2.2", "2.3", "2.4", "2.5"]), ([], ["0", "0.5", "1"]), ([7.0], ["6.6", "6.8", "7", "7.2", "7.4"]), ([-3e6, 1e6], ["-3e6", "-2e6", "-1e6", "0", "1e6"]), ([0.0, 0.0], ["-0.5", "0", "0.5"]),
    ],
)  # fmt: skip
def test_a_linear_axis(values, labels):
    assert [tick.label for tick in linear_scale(values).ticks] == labels


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9))
def test_a_linear_axis_holds_its_numbers(values):
    scale = linear_scale(values)
    assert all(-1e-6 <= scale.y(value) <= 100 + 1e-6 for value in values)
    assert 2 <= len(scale.ticks) <= 8


def test_line_band_and_points_stand_in_the_middle_of_their_layers():
    plot = depth_plot(depth((0.1, 1.0), (1.0, 1.0), (10.0, 10.0)), "x", "d", height=100)
    assert shapes(plot.plot)[:4] == [
        ("grid", "M0 0H3M0 50H3M0 100H3"),
        ("band", "M0.5 50L1.5 50L2.5 0L2.5 0L1.5 50L0.5 100Z"),
        ("line", "M0.5 75L1.5 50L2.5 0"),
        ("dot well", "M0.5 75h0M1.5 50h0M2.5 0h0"),
    ]


def test_norms_stand_beside_the_line():
    plot = depth_plot(depth((1.0,), (10.0, 100.0), (1.0,), (1.0,), ops=("conv", "batch_norm", "conv", "conv")), "x", "d", height=100)
    found = dict(shapes(plot.plot))
    assert found["line"] == "M0.5 100L2.5 100L3.5 100"
    assert (found["whisker"], found["ring well"]) == ("M1.5 50V0", "M1.5 25h0")


def test_what_a_logarithmic_axis_cannot_hold_stands_at_its_edges():
    found = dict(shapes(depth_plot(depth((math.nan, 1.0), (0.0,), (1.0,), (None,)), "x", "d", height=100).plot))
    assert (found["broken"], found["zero"]) == ("M0.5 0h0", "M1.5 100h0")


def test_nothing_measured_no_chart():
    assert depth_plot(depth((None,), ()), "x", "d", height=100) is None
    assert heat_map(depth((None,), ()), "x", "d") is None


def test_many_layers_have_no_points_but_a_line():
    found = dict(shapes(depth_plot(depth(*[(1.0, 2.0)] * 130), "x", "d", height=100).plot))
    assert "line" in found
    assert not [cls for cls in found if cls.startswith("dot")]


def test_heat_map_joins_equal_cells():
    plot = heat_map(depth((0.0, 0.75), (0.0, 0.75), (0.2, 0.75)), "x", "d")
    assert [shape for shape in shapes(plot.plot) if shape[0].startswith("heat")] == [
        ("heat0", "M0 0H2V50H0Z"), ("heat1", "M2 0H3V50H2Z"), ("heat4", "M0 50H3V100H0Z"),
    ]  # fmt: skip


def test_heat_map_fills_equal_gaps_and_no_larger_ones():
    shares = [None] * 20
    for position in (1, 4, 7, 19):
        shares[position] = 0.9
    plot = heat_map(depth(*[(share,) for share in shares]), "x", "d")
    assert [shape for shape in shapes(plot.plot) if shape[0].startswith("heat")] == [("heat4", "M0 0H9V100H0ZM18 0H20V100H18Z")]


def test_heat_map_levels_and_what_is_missing():
    plot = heat_map(depth((0.0,), (0.1,), (0.3,), (0.5,), (0.7,), (math.nan, 1.0)), "x", "d")
    assert [cls for cls, _data in shapes(plot.plot) if cls.startswith("heat")] == ["heat0", "heat1", "heat2", "heat3", "heat4", "heat9"]


def test_many_steps_share_rows_and_show_the_largest():
    plot = heat_map(depth(tuple([0.0] * 99 + [0.9])), "x", "d")
    assert dict(shapes(plot.plot))["heat4"] == "M0 95.83H1V100H0Z"


def test_curves():
    plot = curve_plot((2.0, 1.0, math.nan, 1.5), "d", unit="step", level=Level(1.5, "half"))
    found = dict(shapes(plot.plot))
    assert (found["line"], found["broken"], found["level"]) == ("M0 0L1 100L3 50", "M2 0h0", "M0 50H3")
    assert curve_plot((1.0, None, math.inf), "d", unit="step") is None


def test_curves_are_logarithmic_where_numbers_are_far_apart():
    plot = curve_plot((1.0, 0.1, 0.01), "d", unit="iteration")
    assert dict(shapes(plot.plot))["line"] == "M0 0L1 50L2 100"


def test_long_curves_are_thinned_and_keep_their_end():
    plot = curve_plot(tuple(float(index) for index in range(2000)), "d", unit="step")
    line = dict(shapes(plot.plot))["line"]
    assert line.count("L") < 600
    assert line.endswith("L1999 0.05")


def test_sparklines():
    assert shapes(sparkline((1.0, 10.0, 100.0))) == [("line", "M2 16L36 9L70 2")]
    assert shapes(sparkline((1.0, math.nan, 0.0))) == [("line", "M2 9h0"), ("broken", "M36 3h0"), ("zero", "M70 16h0")]
    assert sparkline((1.0,)) == sparkline(()) == ""


def labels(*parts, layers):
    found = depth_labels([Stage(*part) for part in parts], layers, 9)
    return re.findall(r'<text class="([^"]+)" x="([^"]+)" y="9">([^<]+)', str(found))


def test_labels_that_fit():
    assert labels(("first", 0, 49), ("second", 50, 99), layers=100) == [("stage", "0%", "first"), ("stage", "50%", "second")]


def test_labels_are_left_out_where_they_would_cover_each_other():
    crowded = [(f"layer{index}", index, index) for index in range(20)]
    found = labels(*crowded, layers=20)
    assert [name for cls, _x, name in found if cls == "stage"] == ["layer0", "layer6", "layer12"]
    assert len(found) < 20


def test_long_labels_are_cut():
    assert labels(("x" * 100, 0, 9), layers=10) == [("stage", "0%", "x" * 21 + "\u2026")]
