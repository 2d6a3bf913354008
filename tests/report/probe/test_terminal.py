"""Measurements at the terminal: whole outputs, and what holds of any."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_samples import (
    hostile_report,
    no_layers,
    not_finite_report,
    resnet,
    small,
    transformer,
    unmeasured,
    vanishing,
    vanishing_report,
)
from report_strategies import measurements, probed_reports
from rich.cells import cell_len

from normadvisor.report import RenderOptions
from normadvisor.report.probe import render_audit, render_probe
from normadvisor.types import Problem, Report

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = RenderOptions(root=Path("/project"), width=100)
SAMPLES = {
    "vanishing": vanishing_report,
    "not_finite": not_finite_report,
    "resnet": lambda: Report(measurements=(resnet(),)),
    "small": lambda: Report(measurements=(small(),)),
    "large": lambda: Report(measurements=(transformer(96),)),
    "nothing": lambda: Report(measurements=(no_layers(), unmeasured())),
    "hostile": hostile_report,
}


def golden(name: str, text: str) -> None:
    """Compare with a file; to accept a change, delete the file and run the test twice."""
    path = GOLDEN / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"wrote {path}: read it, then run again")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", SAMPLES)
def test_golden(name):
    golden(f"{name}.txt", render_probe(SAMPLES[name](), OPTIONS))


@pytest.mark.parametrize("width", [60, 140])
def test_other_widths(width):
    golden(f"vanishing-{width}.txt", render_probe(vanishing_report(), replace(OPTIONS, width=width)))


def test_ascii():
    text = render_probe(SAMPLES["resnet"](), replace(OPTIONS, width=80, encoding="ascii"))
    assert text.isascii()
    golden("resnet-ascii.txt", text)


def test_comparison():
    report = Report(measurements=(resnet(seed=7, lr_factor=30.0),))
    golden("comparison.txt", render_probe(report, OPTIONS, compare=resnet()))
    assert render_probe(report, OPTIONS, compare=[vanishing(), resnet()]) == render_probe(report, OPTIONS, compare=resnet())
    assert render_probe(report, OPTIONS, compare=[vanishing(), transformer(2)]) == render_probe(report, OPTIONS)


def test_comparison_with_itself_and_with_another_model():
    same = render_probe(Report(measurements=(resnet(),)), OPTIONS, compare=resnet())
    assert "52 layers within 5 % of the other run\n" in same
    other = render_probe(Report(measurements=(small(),)), OPTIONS, compare=resnet())
    assert "only in this run: {0-2} (3 modules)\n" in other


def test_audit():
    golden("audit-go.txt", render_audit(SAMPLES["small"](), OPTIONS, go=True, reasons=["No error and no warning in 10 steps."], seconds=3.21))
    reasons = ["Step 3 is not finite.", "x" * 150]
    golden("audit-no-go.txt", render_audit(not_finite_report(), OPTIONS, go=False, reasons=reasons, seconds=None))


def test_an_audit_that_could_not_judge():
    problems = (Problem(target="net.py:Broken", message="Broken needs 1 argument: width"),)
    text = render_audit(Report(problems=problems, probed=True), OPTIONS, go=None, reasons=["net.py:Broken could not be judged"], seconds=1.0)
    lines = text.splitlines()
    assert (lines[0], lines[2], lines[-1]) == (" NOT JUDGED  audit  1.0\u00a0s", "- net.py:Broken could not be judged", lines[0])


def test_colors_only_where_wanted():
    plain = render_probe(vanishing_report(), OPTIONS)
    colored = render_probe(vanishing_report(), replace(OPTIONS, color=True))
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b[1;31mbody.0\x1b[0m" in colored  # the name of a layer with an error


def test_layers_of_a_zone_are_marked_below_the_chart():
    """The twelve layers of the finding are the first twelve of the 21 with weights, 84 columns for all of them."""
    marks = next(line for line in render_probe(vanishing_report(), OPTIONS).splitlines() if "\u25b2" in line)
    assert marks.strip() == "\u25b2" * 48


@given(report=probed_reports(), width=st.integers(1, 200), color=st.booleans(), encoding=st.sampled_from(["utf-8", "ascii", "cp1252", "no-such-codec"]), other=measurements())
@settings(max_examples=150)
def test_anything_can_be_printed(report, width, color, encoding, other):
    options = replace(OPTIONS, width=width, color=color, encoding=encoding)
    for out in (render_probe(report, options, compare=other), render_audit(report, options, go=True, reasons=["a"], seconds=1.0)):
        out.encode("ascii" if encoding == "no-such-codec" else encoding)
        assert out.endswith("\n")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", out) if color else out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", plain)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"hostile"}))
def test_measurements_fit_the_width(name, width):
    report = replace(SAMPLES[name](), findings=(), withdrawn=())
    lines = render_probe(report, replace(OPTIONS, width=width)).splitlines()
    assert max(map(cell_len, lines)) <= width
