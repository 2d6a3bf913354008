"""What is held against fixes, from a model before and after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normadvisor.api.fixing.choices import Candidate, Choice
from normadvisor.api.fixing.offers import Offer, Sighting
from normadvisor.api.fixing.shift import Places
from normadvisor.api.fixing.verdict import Attempt, Failure, _model_failures
from normadvisor.api.outcome import Outcome, unusable
from normadvisor.rewrite.proof import Proof
from normadvisor.types import (
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    ModelSummary,
    Operation,
    OperationKind,
    Part,
    Problem,
    Severity,
    TraceKind,
)

HERE, PLACES = (0, 0), Places(())
SUMMARY = ModelSummary(target="a.py:Net", trace=TraceKind.SYMBOLIC, inputs="2x3")
EQUAL, CANNOT = Proof(equal=True), Proof(equal=False, provable=False, reason="two runs differ")


def attempt(line=1, applicability=Applicability.SAFE, path="/a.py"):
    operation = Operation(kind=OperationKind.REMOVE_LAYER, part=Part(f"m{line}"))
    fix = Fix(applicability, "d", (Edit(path, line, 1, line, 2, ""),), operations=(operation,))
    finding = Finding(
        rule="NA105", name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", path=path, line=line, column=1, fix=fix
    )
    return Attempt(Choice(finding, fix), Offer(Candidate(finding, (fix,)), (Sighting(HERE, finding),)))


def outcome(*findings, proof=EQUAL, **more):
    return Outcome(summary=SUMMARY, findings=findings, proof=proof, files=("/a.py",), **more)


def failures(after, attempts, before=None):
    before = before or outcome(*(item.choice.finding for item in attempts))
    return list(_model_failures(HERE, before, after, attempts, PLACES))


def test_what_is_equal_and_free_of_its_finding_is_held():
    assert failures(outcome(), [attempt()]) == []
    assert failures(outcome(proof=None, unchanged=True), [attempt()]) == []
    assert failures(outcome(proof=None), [attempt(applicability=Applicability.UNSAFE)]) == []


def test_what_was_to_be_compared_and_was_not_fails():
    one = attempt()
    assert failures(outcome(proof=None), [one]) == [Failure("a.py:Net was not compared", frozenset({one}), unprovable=True)]


@pytest.mark.parametrize(("phase", "words", "unprovable"), [("tracing", "can no longer be checked", False), ("proving", "could not be compared", True)])
def test_a_worker_that_ended_tells_by_its_phase(phase, words, unprovable):
    one = attempt()
    after = unusable(Problem(target="a.py:Net", message="took too long"), phase)
    assert failures(after, [one]) == [Failure(f"a.py:Net {words}: took too long", frozenset({one}), unprovable=unprovable)]


def test_a_model_that_could_not_be_checked_before_is_nobodys_fault():
    broken = unusable(Problem(target="a.py:Net", message="no"))
    assert failures(broken, [attempt()], before=broken) == []


def test_only_fixes_of_its_files_are_suspected():
    one, other = attempt(), attempt(2, path="/b.py")
    found = failures(outcome(proof=Proof(equal=False, reason="output 0 differs")), [one, other], before=outcome())
    assert found == [Failure("a.py:Net would not be the same function: output 0 differs", frozenset({one}))]


@pytest.mark.parametrize(("number", "certain"), [(8, False), (9, True)])
def test_many_fixes_of_a_model_that_cannot_be_compared_are_not_tried_apart(number, certain):
    many = [attempt(line) for line in range(1, number + 1)]
    found = failures(outcome(proof=CANNOT), many)
    assert found == [Failure("a.py:Net could not be compared: two runs differ", frozenset(many), certain, unprovable=True)]


def test_inputs_that_no_longer_fit_are_told():
    one = attempt()
    after = Outcome(summary=ModelSummary(target="a.py:Net", trace=TraceKind.SYMBOLIC), proof=EQUAL, files=("/a.py",))
    assert failures(after, [one]) == [Failure("a.py:Net no longer takes the inputs 2x3", frozenset({one}))]


@pytest.mark.parametrize(("severity", "held"), [(Severity.INFO, True), (Severity.WARNING, False), (Severity.ERROR, False)])
def test_a_weaker_form_of_what_was_mended_is_progress(severity, held):
    one = attempt()
    old = replace(one.choice.finding, severity=Severity.WARNING, modules=("a", "b"))
    one = Attempt(Choice(old, one.choice.fix), Offer(one.offer.candidate, (Sighting(HERE, old),)))
    new = replace(old, severity=severity, modules=("a", "c"), message="a stands before c")
    left = Failure("the finding would remain: a stands before c", frozenset({one}), certain=True)
    assert failures(outcome(new), [one], before=outcome(old)) == ([] if held else [left])
