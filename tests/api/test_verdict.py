"""Go or no-go, from reports whose findings and measurements are known."""

from __future__ import annotations

import pytest

from normadvisor.api.verdict import MOST, Verdict, verdict_of
from normadvisor.types import (
    Applicability,
    Confidence,
    Finding,
    Fix,
    LayerMeasurements,
    Measurements,
    ModelSummary,
    Problem,
    Report,
    Severity,
    Suppression,
    TraceKind,
)  # fmt: skip

IN_FAVOUR = "1 model checked, nothing found that speaks against training"
MEASURED = "net.py:Net: 3 steps measured over 1 layer, loss 2 to 1"


def finding(rule="NA102", severity=Severity.WARNING, kind: Applicability | None = Applicability.SAFE, **more):
    fix = None if kind is None else Fix(applicability=kind, description="mend it")
    return Finding(
        rule=rule, name="a-rule", severity=severity, confidence=Confidence.CONFIRMED, message="something", model="net.py:Net", fix=fix, **more
    )


def measured(parameters=6, trainable=6, norms=(1.0, 0.5), **facts):
    layer = LayerMeasurements(name="fc", cls="Linear", parameters=parameters, trainable=trainable)
    return Measurements(target="net.py:Net", layers=(layer,), series={"loss": (2.0, 1.5, 1.0), "grad_norm": norms}, facts=facts)


def report(*findings, measurements=None, **more):
    models = (ModelSummary(target="net.py:Net", trace=TraceKind.SYMBOLIC),)
    return Report(findings=findings, models=models, measurements=(measured() if measurements is None else measurements,), probed=True, **more)


def test_nothing_found():
    assert verdict_of(report(), Severity.WARNING) == Verdict(code=0, reasons=(IN_FAVOUR, MEASURED))


def test_what_computes_the_same_is_a_remark():
    found = verdict_of(report(finding(path="/a/net.py", line=3)), Severity.WARNING)
    assert found == Verdict(code=0, reasons=(IN_FAVOUR, MEASURED), remarks=("NA102 a-rule: something (net.py:3)",))
    assert found.to_dict() == {"go": True, "reasons": [IN_FAVOUR, MEASURED], "remarks": ["NA102 a-rule: something (net.py:3)"]}


@pytest.mark.parametrize("kind", [Applicability.UNSAFE, Applicability.DISPLAY, None])
def test_everything_else_is_no_go_and_remarks_stand_apart(kind):
    other = finding("NA601", kind=kind)
    found = verdict_of(report(finding(), other), Severity.WARNING)
    assert found == Verdict(code=1, reasons=("NA601 a-rule: something",), remarks=("NA102 a-rule: something",), against=(other,))


def test_an_error_is_no_remark_whatever_mends_it():
    error = finding(severity=Severity.ERROR)
    assert verdict_of(report(error), Severity.WARNING) == Verdict(code=1, reasons=("NA102 a-rule: something",), against=(error,))


def test_below_fail_on_a_finding_has_less_weight():
    expected = Verdict(code=0, reasons=("1 model checked, 1 finding of less weight", MEASURED))
    assert verdict_of(report(finding(kind=None)), Severity.ERROR) == expected
    assert verdict_of(report(finding(kind=None, suppressed=Suppression.NOQA)), Severity.WARNING).reasons == (IN_FAVOUR, MEASURED)


PROBLEM = Problem(target="net.py:Broken", message="needs an argument")
UNJUDGED = "net.py:Broken could not be judged: needs an argument"


def test_a_problem_is_no_go_and_shown_as_not_judged():
    found = verdict_of(report(problems=(PROBLEM,)), Severity.WARNING)
    assert found == Verdict(code=2, reasons=(UNJUDGED,))
    assert (found.go, found.shown) == (False, None)


def test_what_speaks_against_training_does_so_beside_a_problem():
    error = finding("NA601", kind=None)
    found = verdict_of(report(error, problems=(PROBLEM,)), Severity.WARNING)
    assert found == Verdict(code=2, reasons=(UNJUDGED, "NA601 a-rule: something"), against=(error,))
    assert found.shown is False
    frozen = verdict_of(report(problems=(PROBLEM,), measurements=measured(norms=(0.0, 0.0), differentiable=True)), Severity.ERROR)
    assert (frozen.code, frozen.shown) == (2, False)


@pytest.mark.parametrize(
    ("measurements", "why"),
    [
        (measured(trainable=0, norms=(None, None), differentiable=False), "all parameters are frozen, so that training would change nothing"),
        (measured(parameters=0, trainable=0, norms=(), differentiable=False), "the model has no parameters, so that there is nothing to train"),
        (measured(norms=(None, None), differentiable=False), "the loss depends on no trainable parameter, so that training would change nothing"),
        (measured(norms=(0.0, 0.0), differentiable=True), "it is zero for all parameters in every step, so that training would change nothing"),
    ],
)
def test_without_any_gradient_it_is_no_go(measurements, why):
    words = f"net.py:Net: no gradient was measured: {why}"
    found = verdict_of(report(measurements=measurements), Severity.ERROR)
    assert found == Verdict(code=1, reasons=(words,), unlearnable=(words,))


def test_a_finding_that_says_so_is_not_repeated():
    error = finding("NA606", severity=Severity.ERROR, kind=Applicability.DISPLAY)
    found = verdict_of(report(error, measurements=measured(norms=(0.0, 0.0))), Severity.WARNING)
    assert found == Verdict(code=1, reasons=("NA606 a-rule: something",), against=(error,))


def test_long_lists_are_cut():
    found = verdict_of(report(*[finding("NA601", kind=None)] * 20, *[finding()] * 15), Severity.WARNING)
    assert (len(found.reasons), found.reasons[-1], len(found.remarks), found.remarks[-1]) == (MOST + 1, "and 8 more", MOST + 1, "and 3 more")
