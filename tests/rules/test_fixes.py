"""What the built-in rules offer for their own bad examples: one golden list, so that a change of a rule shows in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.api import SourceJob, check_sources
from normadvisor.config.context import parse_context
from normadvisor.rulebook import load_rules
from normadvisor.types import Applicability, Fix, Operation, Part

GOLDEN = Path(__file__).parent / "data" / "fixes.txt"


def told(part: Part) -> str:
    return part.module if part.is_layer else f"{part.node} of {part.module or 'the model'}"


def done(operation: Operation) -> str:
    words = [operation.kind.value, told(operation.part)]
    words += [told(operation.other)] if operation.other else []
    words += [f"{operation.argument}={operation.value}"] if operation.argument else []
    words += [operation.layer] if operation.layer else []
    words += [f"{name}={value}" for name, value in operation.arguments.items()]
    return " ".join(words)


def lines_of(fix: Fix) -> list[str]:
    return [f"    {fix.applicability}: {fix.title}", *(f"      {done(operation)}" for operation in fix.operations)]


def offered() -> str:
    """Every finding of every bad example of the rules on the graph, with its fixes."""
    cases = [
        (rule, number, example)
        for rule in load_rules()
        for number, example in enumerate(rule.examples.bad, 1)
        if (example.scope or rule.scope) == "graph"
    ]
    jobs = [
        SourceJob(code=example.code, rules=[rule], model=example.model, inputs=example.inputs, context=parse_context(example.context))
        for rule, _, example in cases
    ]
    lines = []
    for (rule, number, _), report in zip(cases, check_sources(jobs), strict=True):
        assert not report.problems
        lines.append(f"{rule.id} {number}")
        for finding in report.findings:
            lines.append(f"  line {finding.line}")
            lines += [line for fix in (finding.fix, *finding.alternatives) if fix is not None for line in lines_of(fix)]
    return "\n".join(lines) + "\n"


def test_what_the_rules_offer():
    """To accept a change, delete the file and run the test twice."""
    text = offered()
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
        pytest.fail(f"wrote {GOLDEN}: read it, then run again")
    assert GOLDEN.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("rule", list(load_rules()), ids=lambda rule: rule.id)
def test_every_fix_has_a_title_and_what_it_costs(rule):
    fixes = [fix for fix in (rule.fix, *rule.alternatives) if fix is not None]
    assert all(fix.title for fix in fixes)
    if rule.scope == "graph":
        assert all(fix.trade_off for fix in fixes)
        assert all(bool(fix.change) == (fix.applicability is not Applicability.DISPLAY) for fix in fixes)
