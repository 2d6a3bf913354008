from __future__ import annotations

import math

from normadvisor.report.probe.drawing import Canvas, Point, spark

NAN = math.nan


def test_spark_is_logarithmic():
    assert spark((1.0, 10.0, 100.0), 12, unicode=True) == "\u2581\u2585\u2588"
    assert spark((1.0, 10.0, 100.0), 12, unicode=False) == "_=#"


def test_small_changes_look_small():
    assert spark((1.0, 1.1, 1.0), 12, unicode=True) == "\u2584\u2585\u2584"


def test_what_has_no_height():
    assert spark((None, NAN, 0.0, 2.0, math.inf), 12, unicode=True) == " !0\u2585!"
    assert spark((), 12, unicode=True) == ""


def test_long_series_are_thinned_and_keep_what_is_not_finite():
    series = [1.0] * 40 + [NAN] + [1.0] * 59
    assert spark(series, 10, unicode=False) == "====!====="


def test_a_rising_line():
    canvas = Canvas(8, 4, unicode=False)
    canvas.curve([Point(0.0, 0.0), Point(0.99, 1.0)])
    assert canvas.lines() == ["     ***", "   **   ", " **     ", "*       "]


def test_a_line_in_braille_and_a_mark_over_it():
    canvas = Canvas(3, 1, unicode=True)
    canvas.curve([Point(0.0, 0.0), Point(0.99, 0.0)])
    assert canvas.lines({(0, 1): "0"}) == ["\u28c00\u28c0"]


def test_one_point():
    canvas = Canvas(4, 2, unicode=False)
    canvas.curve([Point(0.5, 1.0)])
    assert canvas.lines() == ["  * ", "    "]
