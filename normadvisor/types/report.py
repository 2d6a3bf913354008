"""The result of a run: everything a report format needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from normadvisor.types.finding import Finding, Severity
from normadvisor.types.location import Location
from normadvisor.types.measurements import Measurements, Withdrawn
from normadvisor.types.optimization import Optimization
from normadvisor.types.summary import ModelSummary

__all__ = ["Problem", "Report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A target (or a model in it) that could not be checked. Never reported as clean; makes the exit code 2."""

    target: str
    message: str
    location: Location | None = None
    hint: str | None = None
    details: str | None = None
    """The traceback in the target's code, shown with ``--debug`` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Findings (suppressed ones included), the models they came from, and the targets that could not be checked."""

    findings: tuple[Finding, ...] = ()
    models: tuple[ModelSummary, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader should know beside the findings, for standard error."""
    graphs: tuple[str, ...] = ()
    """Tables asked for with ``--show-graph``."""
    unused_noqa: tuple[Location, ...] = field(default=())
    """Comments that suppress nothing."""
    files: int = 0
    """Files that were read and checked as scripts."""
    static: bool = False
    """Whether nothing was to be imported or run, so that there are no models."""
    measurements: tuple[Measurements, ...] = ()
    """What was measured, of the models that were probed."""
    withdrawn: tuple[Withdrawn, ...] = ()
    """Findings that measurements contradict."""
    probed: bool = False
    """Whether models were to be measured."""
    optimizations: tuple[Optimization, ...] = ()
    """What came of the models that were optimized."""
    optimized: bool = False
    """Whether models were to be optimized."""

    @property
    def active(self) -> tuple[Finding, ...]:
        """Findings that are not suppressed."""
        return tuple(finding for finding in self.findings if finding.suppressed is None)

    def exit_code(self, fail_on: Severity = Severity.WARNING) -> int:
        """0 clean or only below ``fail_on``, 1 findings, 2 something could not be checked."""
        if self.problems:
            return 2
        return int(any(finding.severity.rank >= fail_on.rank for finding in self.active))

    def joined(self, other: Report) -> Self:
        """This report followed by ``other``."""
        return replace(
            self,
            findings=self.findings + other.findings,
            models=self.models + other.models,
            problems=self.problems + other.problems,
            notes=self.notes + other.notes,
            graphs=self.graphs + other.graphs,
            unused_noqa=self.unused_noqa + other.unused_noqa,
            files=self.files + other.files,
            static=self.static or other.static,
            measurements=self.measurements + other.measurements,
            withdrawn=self.withdrawn + other.withdrawn,
            probed=self.probed or other.probed,
            optimizations=self.optimizations + other.optimizations,
            optimized=self.optimized or other.optimized,
        )
