"""What the fixes of script rules change in the bad examples mends them; and scripts are checked without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from normadvisor.api.sources import SourceJob, check_sources
from normadvisor.rulebook import load_rules
from normadvisor.rulebook.trial import Kind, trials
from normadvisor.script.anchors import applied

RULES = list(load_rules())
TRIALS = {trial.label: trial for trial in trials(RULES) if trial.is_script and trial.kind is Kind.BAD}
BY_HAND = {
    "NA202 bad 4": "no batch holds two samples",
    "NA204 bad 1": "which norm is better is for its author to say",
    "NA210 bad 1": "nothing was put into eval mode yet",
    "NA211 bad 1": "as NA204",
    "NA211 bad 2": "as NA204",
    "NA505 bad 1": "which distribution is for its author to say",
    "NA505 bad 2": "as above",
    "NA508 bad 1": "groups are for its author to make",
    "NA509 bad 2": "a layer in __init__ is a change in another place",
}


def check(code):
    (report,) = check_sources([SourceJob(code=code, rules=RULES, script=True)])
    assert report.problems == ()
    return report.findings


@pytest.mark.parametrize("label", TRIALS)
def test_edits_mend_the_bad_examples(label):
    findings = check(TRIALS[label].example.code)
    assert {finding.rule for finding in findings} == {label.partition(" ")[0]}
    edits = tuple(edit for finding in findings if finding.fix is not None for edit in finding.fix.edits)
    assert {edit.path for edit in edits} <= {"example.py"}
    assert bool(edits) != (label in BY_HAND)
    if edits:
        assert check(applied(TRIALS[label].example.code, edits)) == ()


def test_all_rules_are_silent_on_good_and_fixed_examples():
    quiet = [trial for trial in trials(RULES) if trial.is_script and trial.kind is not Kind.BAD]
    reports = check_sources([SourceJob(code=trial.example.code, rules=RULES, script=True) for trial in quiet])
    loud = {trial.label: [(finding.rule, finding.line) for finding in report.findings] for trial, report in zip(quiet, reports, strict=True)}
    assert {label: found for label, found in loud.items() if found} == {}


def test_a_script_that_cannot_be_read_is_a_problem():
    (report,) = check_sources([SourceJob(code="def f(:\n", rules=RULES, script=True)])
    assert report.findings == ()
    assert [problem.target for problem in report.problems] == ["example.py"]
    assert str(report.problems[0].location).startswith("example.py:1:")


def test_scripts_are_checked_without_torch():
    code = (
        "import sys\nfrom normadvisor.api.sources import check_source\nfrom normadvisor.rulebook import load_rules\n"
        "code = 'import torch\\nfrom torch import nn\\nm = nn.Dropout(0.5)\\nwith torch.no_grad():\\n    print(m(torch.load(\"x.pt\")).argmax())\\n'\n"
        "report = check_source(code, rules=list(load_rules()), script=True)\n"
        "print(len(report.problems), sorted({'torch', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0 []\n"
