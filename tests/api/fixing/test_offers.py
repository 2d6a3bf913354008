"""What is offered, where several models show a finding."""

from __future__ import annotations

from dataclasses import replace

from normadvisor.api.fixing.choices import Candidate
from normadvisor.api.fixing.offers import SCRIPTS, Sighting, identity, offers
from normadvisor.api.outcome import Outcome
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
    Severity,
    TraceKind,
)

SAFE, UNSAFE, DISPLAY = Applicability.SAFE, Applicability.UNSAFE, Applicability.DISPLAY
EDIT, OTHER = Edit("a.py", 5, 1, 5, 1, "x"), Edit("a.py", 5, 1, 5, 1, "y")


def fix(module="conv", *edits, applicability=SAFE, refused="", argument="bias"):
    operation = Operation(kind=OperationKind.SET_ARGUMENT, part=Part(module), argument=argument, value=False)
    return Fix(applicability, "d", edits, operations=(operation,), refused=refused)


def finding(model, *fixes, line=5):
    return Finding(
        rule="NA102", name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", path="a.py", line=line, column=1, model=model,
        fix=fixes[0] if fixes else None, alternatives=fixes[1:],
    )  # fmt: skip


def outcome(*findings):
    return Outcome(summary=ModelSummary(target="t", trace=TraceKind.SYMBOLIC), findings=findings)


def offered(*findings, scripts=()):
    """The only offer, where each finding is that of a model of its own."""
    (offer,) = offers(findings[:1] or scripts, scripts, [[outcome(item) for item in findings]]).values()
    return offer


def test_models_that_ask_for_the_same_edits_agree():
    one, two = finding("A", fix("conv", EDIT)), finding("B", fix("body.conv", EDIT))
    offer = offered(one, two)
    assert offer.candidate == Candidate(one, (one.fix,), ())
    assert offer.sightings == (Sighting((0, 0), one), Sighting((0, 1), two))
    assert [offer.operations(one.fix, (0, model)) for model in range(3)] == [one.fix.operations, two.fix.operations, ()]
    assert [offer.holds((0, model)) for model in range(3)] == [True, True, False]


def test_one_unsafe_model_makes_it_unsafe():
    one, two = finding("A", fix("conv", EDIT)), finding("B", fix("conv", EDIT, applicability=UNSAFE))
    assert [item.applicability for item in offered(one, two).candidate.fixes] == [UNSAFE]


def test_different_edits_of_one_place_are_refused():
    one, two = finding("A", fix("conv", EDIT)), finding("B", fix("conv", OTHER))
    candidate = offered(one, two).candidate
    assert (candidate.fixes, candidate.reason, candidate.default) == ((), "B would need another edit of the same place", None)


def test_what_one_model_refuses_is_refused():
    one, two = finding("A", fix("conv", EDIT)), finding("B", fix("conv", refused="no"))
    assert offered(one, two).candidate.reason == "no"


def test_what_another_model_is_not_offered_is_left_to_the_trial():
    one, two = finding("A", fix("conv", EDIT)), finding("B", fix("conv", OTHER, argument="groups"))
    assert offered(one, two).candidate.fixes == (one.fix,)


def test_the_default_is_the_first_safe_one_else_the_own_one_and_never_an_unsafe_alternative():
    first, second = fix("conv", EDIT, applicability=UNSAFE), fix("conv", OTHER)
    assert offered(finding("A", first, second)).candidate.default == second
    assert offered(finding("A", first)).candidate.default == first
    words = Fix(DISPLAY, "by hand")
    candidate = offered(finding("A", words, first)).candidate
    assert (candidate.fixes, candidate.others, candidate.default, candidate.reason) == ((first,), (words,), None, "")
    assert offered(finding("A", words)).candidate.reason == "the fix is to be made by hand"


def test_cells_of_notebooks_are_edited_where_the_rule_names_edits():
    edited = replace(finding(None, Fix(UNSAFE, "d", (replace(EDIT, cell=2),))), cell=2)
    assert offered(scripts=[edited]).candidate.fixes == (edited.fix,)
    words = replace(finding(None, Fix(UNSAFE, "d")), cell=2)
    assert offered(scripts=[words]).candidate.reason == "the fix is to be made by hand"


def test_scripts_are_told_apart_from_models():
    script = finding(None, Fix(UNSAFE, "d", (EDIT,)))
    offer = offered(scripts=[script])
    assert offer.sightings == (Sighting(SCRIPTS, script),)
    assert offer.holds(SCRIPTS)


def test_findings_without_a_place_are_told_apart_by_model_and_fingerprint():
    one, two, three = (replace(finding(model), path=None, line=None, fingerprint=mark) for model, mark in (("A", "x"), ("B", "x"), ("A", "y")))
    assert len({identity(item) for item in (one, two, three, one)}) == 3
