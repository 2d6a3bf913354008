from __future__ import annotations

from normadvisor.api.outcome import Outcome, report_of
from normadvisor.types import ModelSummary, TraceKind


def outcome(target, inputs, inferred="first layer", notes=()):
    return Outcome(summary=ModelSummary(target=target, trace=TraceKind.SYMBOLIC, inputs=inputs), inferred=inferred, notes=notes)


def test_one_model_is_one_line():
    assert report_of([outcome("a.py:A", "2x3")]).notes == ("a.py:A: inputs 2x3 were inferred: first layer",)


def test_given_inputs_are_not_mentioned():
    assert report_of([outcome("a.py:A", "2x3", None)]).notes == ()


def test_no_reason_and_no_inputs():
    assert report_of([outcome("A", "2x3", ""), outcome("B", "", "forward takes no arguments")]).notes == (
        "A: inputs 2x3 were inferred",
        "B: no inputs are needed: forward takes no arguments",
    )


def test_models_with_the_same_inputs_share_a_line():
    report = report_of([outcome(name, "2x3", notes=("slow",) if name == "B" else ()) for name in "ABCDEF"])
    assert report.notes == ("inputs 2x3 were inferred for A, B, C, D and 2 more models: first layer", "B: slow")


def test_one_more_is_one_model():
    assert report_of([outcome(name, "2x3") for name in "ABCDE"]).notes == ("inputs 2x3 were inferred for A, B, C, D and 1 more model: first layer",)
    several = [outcome(f"m{size}", f"2x{size}") for size in range(7)]
    assert report_of(several).notes[-1] == "inputs of 1 more model were inferred (--format json tells which)"


def test_many_different_inputs_are_cut_short_the_rare_ones_first():
    outcomes = [outcome(f"m{size}", f"2x{size}") for size in range(9)] + [outcome("last", "2x8")]
    assert report_of(outcomes).notes == (
        "inputs 2x8 were inferred for m8, last: first layer",
        *(f"m{size}: inputs 2x{size} were inferred: first layer" for size in range(5)),
        "inputs of 3 more models were inferred (--format json tells which)",
    )
