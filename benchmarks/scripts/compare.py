"""Set findings against labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.scripts.findings import Finding
from benchmarks.scripts.labels import Label

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Labels met and missed, findings that no label allows, and information no label speaks of."""

    met: tuple[Label, ...]
    missed: tuple[Label, ...]
    false: tuple[Finding, ...]
    remarks: tuple[Finding, ...]

    @property
    def recall(self) -> float:
        """Share of the expected findings that were made; 1 where none was expected."""
        expected = len(self.met) + len(self.missed)
        return len(self.met) / expected if expected else 1.0

    @property
    def precision(self) -> float:
        """Share of the findings that were expected, remarks aside; 1 where none was made."""
        made = len(self.met) + len(self.false)
        return len(self.met) / made if made else 1.0

    def of(self, rule: str) -> Comparison:
        """The part of one rule."""
        return Comparison(
            tuple(label for label in self.met if label.rule == rule),
            tuple(label for label in self.missed if label.rule == rule),
            tuple(finding for finding in self.false if finding.rule == rule),
            tuple(finding for finding in self.remarks if finding.rule == rule),
        )

    def rules(self) -> list[str]:
        """Every rule that was expected or spoke."""
        return sorted({one.rule for group in (self.met, self.missed, self.false, self.remarks) for one in group})


def _right(label: Label, finding: Finding) -> bool:
    severity = {"warning", "error"} if not label.severity else {label.severity}
    return finding.rule == label.rule and finding.severity in severity


def _tolerated(labels: Sequence[Label], finding: Finding) -> bool:
    loudest = {"": {"info"}, "info": {"info"}, "warning": {"info", "warning"}, "error": {"info", "warning", "error"}}
    return any(label.kind == "allow" and label.rule == finding.rule and finding.severity in loudest[label.severity] for label in labels)


def compare(labels: Iterable[Label], findings: Iterable[Finding]) -> Comparison:
    """Meet every expected label with at most one finding at its place; a second finding of the rule there is a false alarm."""
    by_place: dict[str, list[Label]] = {}
    for label in labels:
        by_place.setdefault(label.place, []).append(label)
    open_labels = Counter(label for group in by_place.values() for label in group if label.kind == "expect")
    met, false, remarks = [], [], []
    for finding in findings:
        here = by_place.get(finding.place, [])
        right = next((label for label in here if open_labels[label] and _right(label, finding)), None)
        if right is not None:
            open_labels[right] -= 1
            met.append(right)
        elif any(label.kind == "never" for label in here) or (finding.loud and not _tolerated(here, finding)):
            false.append(finding)
        else:
            remarks.append(finding)
    missed = sorted(open_labels.elements())
    return Comparison(tuple(sorted(met)), tuple(missed), tuple(false), tuple(remarks))
