"""What a measurement says about findings of static rules: they are confirmed, taken back, or left as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from normadvisor.match.measured.compiled import CompiledMeasured, compile_measured
from normadvisor.match.measured.values import plain_value
from normadvisor.match.measured.views import LayerView, context_view, views_of
from normadvisor.rulebook.model import Rule
from normadvisor.types import Confidence, Finding, Measurements, RunContext, Withdrawn

__all__ = ["judged"]


def judged(
    findings: Sequence[Finding], measurements: Measurements, rules: Sequence[Rule], context: RunContext
) -> tuple[list[Finding], list[Withdrawn]]:
    """Findings of one model after it was measured.

    Args:
        findings: of static rules, on this model or on others; the latter are handed back as they are.
        measurements: what was measured of the model.
        rules: the rules of the run; those with a section ``measured`` decide.
        context: what is known about the training.

    Returns:
        The findings that hold, in their order, those that were confirmed with the measured numbers among their evidence; and those that
        the measurement contradicts.

    Raises:
        RuleError: an expression of a rule failed.

    """
    sides = {rule.id: compile_measured(rule, rule.measured) for rule in rules if rule.measured is not None}
    layers, run = views_of(measurements)
    ground = {"probe": run, "context": context_view(context)}
    kept: list[Finding] = []
    withdrawn: list[Withdrawn] = []
    for finding in findings:
        side = sides.get(finding.rule)
        found = [] if side is None or finding.model != measurements.target else _found(finding, layers)
        result = finding if side is None or not found else _judged(finding, side, {**ground, "found": found})
        if isinstance(result, Withdrawn):
            withdrawn.append(result)
        else:
            kept.append(result)
    return kept, withdrawn


def _judged(finding: Finding, side: CompiledMeasured, scope: dict[str, Any]) -> Finding | Withdrawn:
    numbers = {name: plain_value(value(scope)) for name, value in side.evidence.items()}
    evidence = {**finding.evidence, **{name: value for name, value in numbers.items() if value is not None}}
    if side.confirm is not None and side.confirm(scope):
        told = side.message.known(scope) if side.message is not None else None
        message = finding.message if told is None else f"{finding.message}; {' '.join(told.split())}"
        return replace(finding, confidence=Confidence.CONFIRMED, message=message, evidence=evidence)
    if side.withdraw is not None and side.withdraw(scope):
        reason = "" if side.reason is None else " ".join(side.reason(scope).split())
        return Withdrawn(finding=replace(finding, evidence=evidence), reason=reason)
    return finding


def _found(finding: Finding, layers: Sequence[LayerView]) -> list[LayerView]:
    """The measured layers that a finding names; of a module that was not measured itself those inside it."""
    measured = {view["name"] for view in layers}
    named = set(finding.modules)
    inside = tuple(f"{name}." for name in named if name not in measured)
    return [view for view in layers if view["name"] in named or view["name"].startswith(inside)]
