"""Examples as tests: when a rule is noisy, when it misses, and when an example is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normadvisor.rulebook import load_text
from normadvisor.rulebook.model import Example
from normadvisor.rulebook.trial import BUDGET, STEPS, Kind, Trial, Verdict, judge, trials
from normadvisor.types import Confidence, Finding, ProbeOptions, Severity


def finding(line, severity="warning", rule="AC001"):
    return Finding(rule=rule, name="small-rule", severity=Severity(severity), confidence=Confidence.CONFIRMED, message="said", line=line)


def test_every_example_is_a_trial(rule_text):
    rule = load_text(rule_text + "  fixed: [{code: z}, {code: w}]\n".replace(", {code: w}", ""), "").rule
    assert [trial.label for trial in trials([rule])] == ["AC001 bad 1", "AC001 good 1", "AC001 fixed 1"]


@pytest.mark.parametrize(
    ("kind", "expect", "findings", "problems", "verdict", "reason"),
    [
        ("bad", [], [finding(3)], [], "passed", ""),
        ("bad", [], [], [], "missing", "no finding"),
        ("bad", [], [finding(3, rule="AC002")], [], "missing", "no finding"),
        ("bad", ["3"], [finding(3)], [], "passed", ""),
        ("bad", ["3:warning"], [finding(3)], [], "passed", ""),
        ("bad", ["3:error"], [finding(3)], [], "missing", "expected 3:error; found 3:warning"),
        ("bad", ["4"], [finding(3)], [], "missing", "expected 4; found 3:warning"),
        ("bad", ["3"], [finding(3), finding(5)], [], "missing", "expected 3; found 3:warning, 5:warning"),
        ("bad", ["3", "5"], [finding(5), finding(3)], [], "passed", ""),
        ("bad", ["10:info", "9"], [finding(9), finding(10, "info")], [], "passed", ""),
        ("bad", ["3:warning", "3:info"], [finding(3, "info"), finding(3)], [], "passed", ""),
        ("bad", ["3"], [finding(None)], [], "missing", "expected 3; found ?:warning"),
        ("good", [], [], [], "passed", ""),
        ("good", [], [finding(3, rule="AC002")], [], "passed", ""),
        ("good", [], [finding(3)], [], "noisy", "said"),
        ("fixed", [], [finding(3)], [], "noisy", "said"),
        ("good", [], [], ["no such layer"], "error", "no such layer"),
        ("bad", [], [finding(3)], ["no such layer"], "error", "no such layer"),
    ],
)
def test_verdicts(rule_text, kind, expect, findings, problems, verdict, reason):
    trial = Trial(load_text(rule_text, "").rule, Kind(kind), 1, Example(code="", expect=expect))
    outcome = judge(trial, findings, problems)
    assert (outcome.verdict, outcome.reason) == (Verdict(verdict), reason)


def test_examples_that_are_probed(rule_text):
    measured = "measured: {confirm: 'True'}\nexamples:"
    rule = load_text(rule_text.replace("examples:", measured), "").rule
    example = Example(code="", scope="probe", probe={"batch_size": 4, "loss": "mse"})
    trial = Trial(rule, Kind.BAD, 1, example)
    assert trial.is_probe
    assert trial.options() == ProbeOptions(device="cpu", steps=STEPS, budget=BUDGET, batch_size=4, loss="mse")
    # Of a static rule only what the measurement confirms counts.
    suspected = replace(finding(3), confidence=Confidence.SUSPECTED)
    assert [judge(trial, [one]).verdict for one in (finding(3), suspected)] == [Verdict.PASSED, Verdict.MISSING]
    static = Trial(rule, Kind.BAD, 1, Example(code=""))
    assert not static.is_probe
    assert judge(static, [suspected]).verdict is Verdict.PASSED
    with pytest.raises(ValueError, match="AC001 bad 1 is not probed"):
        static.options()
