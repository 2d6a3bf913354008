"""Counting and ordering findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from normadvisor.types import Applicability, Finding, Report, Severity

__all__ = [
    "RuleCount", "by_importance", "by_place", "checked_models", "counted", "fixable", "rule_counts", "severity_counts", "summary",
    "suppressed",
]  # fmt: skip


class RuleCount(NamedTuple):
    """How often one rule speaks."""

    rule: str
    name: str
    severity: Severity
    """The worst severity among the findings."""
    times: int


def by_place(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by file, line, column and rule: the same order however the run was scheduled."""
    return sorted(findings, key=_place)


def _place(finding: Finding) -> tuple[str, int, int, int, str, str, tuple[str, ...], str]:
    return (
        finding.path or "", finding.cell or 0, finding.line or 0, finding.column or 0, finding.rule, finding.model or "", finding.modules,
        finding.fingerprint,
    )  # fmt: skip


def by_importance(findings: Iterable[Finding]) -> list[Finding]:
    """Findings grouped by file, the file with the worst finding first, and in a file the worst first."""
    ordered = by_place(findings)
    worst: dict[str, int] = {}
    for finding in ordered:
        key = finding.path or ""
        worst[key] = max(worst.get(key, 0), finding.severity.rank)
    return sorted(ordered, key=lambda finding: (-worst[finding.path or ""], finding.path or "", -finding.severity.rank))


def severity_counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Number of findings per severity, the worst first, zeros included."""
    counts = Counter(finding.severity for finding in findings)
    return {severity.value: counts[severity] for severity in sorted(Severity, key=lambda item: -item.rank)}


def rule_counts(findings: Iterable[Finding]) -> list[RuleCount]:
    """Number of findings per rule, the most frequent first."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.rule, []).append(finding)
    counts = [
        RuleCount(rule, group[0].name, max((finding.severity for finding in group), key=lambda item: item.rank), len(group))
        for rule, group in found.items()
    ]
    return sorted(counts, key=lambda item: (-item.times, item.rule))


def suppressed(report: Report) -> dict[str, int]:
    """Number of suppressed findings per way of suppressing them."""
    counts = Counter(finding.suppressed for finding in report.findings if finding.suppressed is not None)
    return {way.value: count for way, count in sorted(counts.items())}


def checked_models(report: Report) -> int:
    """Number of models that were looked at."""
    return sum(model.error is None for model in report.models)


def counted(number: int, noun: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def fixable(findings: Iterable[Finding]) -> tuple[int, int]:
    """How many findings a safe fix mends, and how many more an unsafe one does."""
    chosen = [finding.mended_by(lambda fix: bool(fix.edits)) for finding in findings]
    kinds = Counter(fix.applicability for fix in chosen if fix is not None)
    return kinds[Applicability.SAFE], kinds[Applicability.UNSAFE]


def _fixable(findings: Iterable[Finding]) -> list[str]:
    """What ``normadvisor fix`` would do about the findings, if anything."""
    safe, unsafe = fixable(findings)
    if safe:
        return [f"{safe} fixable with `normadvisor fix`" + (f", {unsafe} more with --unsafe-fixes" if unsafe else "")]
    return [f"{unsafe} fixable with `normadvisor fix --unsafe-fixes`"] if unsafe else []


def summary(report: Report, elapsed: float | None = None, *, judged: int = 0) -> str:
    """The result in one sentence.

    Args:
        report: the result.
        elapsed: seconds the run took.
        judged: rules that looked at measurements.

    """
    active = report.active
    models = checked_models(report) or len(report.measurements)
    where = f"in {counted(models, 'model')}" if models else f"in {counted(report.files, 'file')}" if report.files else ""
    if active:
        kinds = ", ".join(
            f"{number} info" if name == "info" else counted(number, name) for name, number in severity_counts(active).items() if number
        )
        start = f"Found {counted(len(active), 'finding')} {where}".rstrip() + f": {kinds}"
    else:
        start = f"No findings {where}".rstrip()
    parts = [start, *_fixable(active)]
    if not (models or active or report.problems or report.static or report.measurements):
        parts.append("no models were found")
    if hidden := suppressed(report):
        ways = ", ".join(way if len(hidden) == 1 else f"{number} {way}" for way, number in hidden.items())
        parts.append(f"{sum(hidden.values())} suppressed ({ways})")
    if judged and report.measurements:
        parts.append(f"{counted(judged, 'rule')} looked at the measurements")
    if report.withdrawn:
        parts.append(f"{len(report.withdrawn)} withdrawn after measuring")
    if report.problems:
        parts.append(f"{counted(len(report.problems), 'target')} could not be checked")
    time = "" if elapsed is None else f" ({elapsed:.1f} s)"
    return "; ".join(parts) + time + "."
