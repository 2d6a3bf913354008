"""What an audit makes of a report: whether training may start, why, and what is worth a look although nothing hangs on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normadvisor.types import Applicability, Finding, Measurements, Report, Severity

__all__ = ["MOST", "Verdict", "place_words", "verdict_of"]

MOST = 12
"""Reasons that are named, and remarks."""
_NOT_JUDGED = 2
"""The exit code that says so."""
_LEAST_STEPS = 3
"""Rules that compare layers over steps do not speak on fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Go or no-go, in words."""

    code: int
    """0 go, 1 no-go, 2 something could not be judged."""
    reasons: tuple[str, ...]
    """Why, or why not; one sentence each."""
    remarks: tuple[str, ...] = ()
    """Findings that say nothing against training: mended, the model computes the same."""
    against: tuple[Finding, ...] = ()
    """Findings that speak against it, the gravest first."""
    unlearnable: tuple[str, ...] = ()
    """Of models without any gradient: why there is nothing that training could do."""

    @property
    def go(self) -> bool:
        """Whether training may start."""
        return self.code == 0

    @property
    def shown(self) -> bool | None:
        """Whether training may start, as reports say it: ``None`` where something could not be judged and nothing else is against it."""
        return None if self.code == _NOT_JUDGED and not (self.against or self.unlearnable) else self.go

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON reports."""
        return {"go": self.go, "reasons": list(self.reasons), "remarks": list(self.remarks)}


def verdict_of(report: Report, fail_on: Severity) -> Verdict:
    """Judge a report.

    A finding at ``fail_on`` or above speaks against training, unless it is no error and its fix is ``safe``: the same function is computed
    without what it is about (such as a bias that the norm behind it takes off again), which is waste, and a remark. A model whose
    measured steps hold no gradient at all cannot be trained, whatever the findings are.

    Args:
        report: with measurements.
        fail_on: least severity of a finding that counts.

    """
    counted = [finding for finding in report.active if finding.severity.rank >= fail_on.rank]
    grave = sorted((finding for finding in counted if not _same_function(finding)), key=lambda finding: -finding.severity.rank)
    harmless = [_sentence(finding) for finding in counted if _same_function(finding)]
    unlearnable = tuple(_without_gradient(report, grave))
    against = [f"{problem.target} could not be judged: {problem.message}" for problem in report.problems]
    against += [*unlearnable, *(_sentence(finding) for finding in grave)]
    code = _NOT_JUDGED if report.problems else int(bool(against))
    reasons = _shortened(against) if against else tuple(_in_favour(report, len(harmless)))
    return Verdict(code=code, reasons=reasons, remarks=_shortened(harmless), against=tuple(grave), unlearnable=unlearnable)


def place_words(finding: Finding) -> str:
    """Where a finding is, in brackets; empty where that is not known."""
    return "" if finding.path is None else f" ({Path(finding.path).name}:{finding.line})"


def _same_function(finding: Finding) -> bool:
    safe = finding.fix is not None and finding.fix.applicability is Applicability.SAFE
    return safe and finding.severity is not Severity.ERROR


def _without_gradient(report: Report, grave: Sequence[Finding]) -> Iterator[str]:
    """Why a model cannot learn, where no finding among the grave ones says it already."""
    said = {finding.model for finding in grave if finding.rule == "NA606"}
    for item in report.measurements:
        if item.target not in said and _no_gradient(item):
            yield f"{item.target}: no gradient was measured: {_why(item)}"


def _no_gradient(item: Measurements) -> bool:
    norms = [value for value in item.series.get("grad_norm", ()) if value is not None]
    return item.facts.get("differentiable") is False or (bool(norms) and all(value == 0 for value in norms))


def _why(item: Measurements) -> str:
    if not sum(layer.parameters for layer in item.layers):
        return "the model has no parameters, so that there is nothing to train"
    if not sum(layer.trainable for layer in item.layers):
        return "all parameters are frozen, so that training would change nothing"
    if item.facts.get("differentiable") is False:
        return "the loss depends on no trainable parameter, so that training would change nothing"
    return "it is zero for all parameters in every step, so that training would change nothing"


def _in_favour(report: Report, remarks: int) -> Iterator[str]:
    others = len(report.active) - remarks
    models = _several(len(report.models), "model")
    if others:
        yield f"{models} checked, {_several(others, 'finding')} of less weight"
    else:
        yield f"{models} checked, nothing found that speaks against training"
    for item in report.measurements:
        losses = [value for value in item.series.get("loss", ()) if value is not None and math.isfinite(value)]
        loss = f", loss {losses[0]:.4g} to {losses[-1]:.4g}" if losses else ""
        few = f", too few to judge fading gradients and dead units, which takes {_LEAST_STEPS}" if item.steps < _LEAST_STEPS else ""
        yield f"{item.target}: {_several(item.steps, 'step')} measured over {_several(len(item.layers), 'layer')}{loss}{few}"
    if report.withdrawn:
        yield f"{_several(len(report.withdrawn), 'suspicion')} withdrawn after measuring"


def _sentence(finding: Finding) -> str:
    return f"{finding.rule} {finding.name}: {finding.message}{place_words(finding)}"


def _shortened(sentences: Sequence[str]) -> tuple[str, ...]:
    more = [f"and {len(sentences) - MOST} more"] if len(sentences) > MOST else []
    return (*sentences[:MOST], *more)


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
