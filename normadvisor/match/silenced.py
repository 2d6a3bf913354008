"""One event, one finding: where rules overlap the more precise one speaks."""

from __future__ import annotations

from collections.abc import Sequence

from normadvisor.rulebook.model import ProbePattern, Rule
from normadvisor.types import Finding

__all__ = ["without_silenced"]


def without_silenced(findings: Sequence[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """Drop findings of an event that a more precise rule reports: on a shared module, or anywhere for one finding per model or run."""
    by_id = {rule.id: rule for rule in rules}
    concerned: dict[str, set[str]] = {}
    for finding in findings:
        concerned.setdefault(finding.rule, set()).update(finding.modules)

    def silenced(finding: Finding) -> bool:
        rule = by_id[finding.rule]
        speaking = [concerned[other] for other in rule.silenced_by if other in concerned]
        of_run = isinstance(rule.pattern, ProbePattern) and rule.pattern.layer is None
        return bool(speaking) if rule.report == "model" or of_run else any(not modules.isdisjoint(finding.modules) for modules in speaking)

    return [finding for finding in findings if not silenced(finding)]
