"""Findings that measurements contradict, in the format for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from probe_samples import resnet, vanishing_report

from normadvisor.report import RenderOptions, render
from normadvisor.report.tally import summary
from normadvisor.types import Report

OPTIONS = RenderOptions(root=Path("/project"), width=80)


def test_withdrawn_findings_stand_behind_the_others_with_the_reason():
    report = replace(vanishing_report(), findings=())
    assert render(report, "text", options=OPTIONS) == (
        "models/deep_tanh.py:12:9  NA504 init-activation-mismatch  [withdrawn]\n"
        "  Outputs keep a standard deviation between 0.5 and 2 in the first layers,\n"
        "  measured over 10 steps.\n"
        "  in        body.0\n"
        "\n"
        "No findings in 1 model; 1 withdrawn after measuring.\n"
    )


def test_the_summary_says_how_many_rules_looked_at_measurements():
    report = Report(measurements=(resnet(),))
    assert summary(report, 2.0, judged=11) == "No findings in 1 model; 11 rules looked at the measurements (2.0 s)."
    assert summary(report, judged=1) == "No findings in 1 model; 1 rule looked at the measurements."
    assert summary(Report(files=2), judged=11) == "No findings in 2 files; no models were found."
