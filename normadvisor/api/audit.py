"""Go or no-go before training starts: what is known of a model's structure and what was measured on it, as one answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.probe import measured
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.shown import ProbeResult, write_text
from normadvisor.config import Settings
from normadvisor.errors import AuditError, UsageError
from normadvisor.types import Finding, Measurements, Report, Severity

if TYPE_CHECKING:
    import torch

__all__ = ["AuditReport", "audit", "reasons_of"]

_MOST = 12
"""Reasons that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport(ProbeResult):
    """The verdict on one model or several. Printed, it is what ``normadvisor audit`` shows."""

    @property
    def go(self) -> bool:
        """Whether training may start: everything was checked and measured, and nothing found is as grave as ``fail-on``."""
        return self.exit_code == 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, or why not; one sentence each."""
        return reasons_of(self.report, self.settings.fail_on)

    def __str__(self) -> str:
        """The verdict, why, and what it rests on, without colours."""
        from normadvisor.report.probe import render_audit

        return render_audit(self.report, self._options(), go=self.go, reasons=self.reasons, seconds=self.seconds).rstrip("\n")

    def raise_on(self, severity: str | Severity = Severity.ERROR) -> None:
        """Raise where something was found that is at least so grave, or something could not be checked or measured.

        Args:
            severity: ``info``, ``warning`` or ``error``.

        Raises:
            AuditError: names what was found.
            UsageError: there is no such severity.

        """
        try:
            least = Severity(severity)
        except ValueError:
            raise UsageError(f"severity cannot be {severity!r}", hint=f"one of {', '.join(Severity)}") from None
        grave = [finding for finding in self.report.active if finding.severity.rank >= least.rank]
        words = [f"{finding.rule} {finding.name}: {finding.message}{_place(finding)}" for finding in grave]
        words += [f"{problem.target}: {problem.message}" for problem in self.report.problems]
        if words:
            more = f"; and {len(words) - _MOST} more" if len(words) > _MOST else ""
            raise AuditError(f"{'; '.join(words[:_MOST])}{more}", findings=tuple(grave), problems=self.report.problems)

    def to_dict(self) -> dict[str, Any]:
        """What ``normadvisor audit --json`` writes: that of a probe, with ``audit: {go, reasons}``."""
        # Not super(): a dataclass with slots is made anew, and the class it would look in is the first.
        return {**ProbeResult.to_dict(self), "audit": {"go": self.go, "reasons": list(self.reasons)}}

    def html(self, path: str | Path, *, compare: Measurements | Sequence[Measurements] | None = None) -> None:
        """Write the page as one HTML file that needs no other; it is in place whole or not at all.

        Raises:
            UsageError: it cannot be written.

        """
        from normadvisor.report.html import html_audit

        del compare
        write_text(Path(path), html_audit(self.report, go=self.go, reasons=self.reasons, root=Path.cwd()))


def audit(
    model: torch.nn.Module | str | Path | Sequence[str | Path],
    batch: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    settings: Settings | None = None,
    inputs: Any = None,
    optimizer: torch.optim.Optimizer | str | None = None,
    data: Iterable[Any] | str | None = None,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> AuditReport:
    """Check and measure a model before it is trained; the arguments are those of :func:`normadvisor.probe`.

    >>> report = normadvisor.audit(model, (images, labels), torch.nn.functional.cross_entropy)  # doctest: +SKIP
    >>> print(report)  # doctest: +SKIP
    >>> report.raise_on("error")  # doctest: +SKIP

    Raises:
        NormAdvisorError: an option, the configuration or a rule is wrong. What is wrong with a model stands in ``report.problems``.

    """
    begin = time.monotonic()
    checked = measured(
        model, batch, loss_fn, settings=settings, inputs=inputs, optimizer=optimizer, data=data, progress=progress, static_rules=True,
        options=options,
    )  # fmt: skip
    return AuditReport(report=checked.report, settings=checked.settings, rules=checked.rules, seconds=time.monotonic() - begin)


def reasons_of(report: Report, fail_on: Severity) -> tuple[str, ...]:
    """Why training may start or may not, one sentence each.

    Args:
        report: with measurements.
        fail_on: least severity of a finding that speaks against it.

    """
    against = [f"{problem.target} could not be judged: {problem.message}" for problem in report.problems]
    grave = [finding for finding in report.active if finding.severity.rank >= fail_on.rank]
    against += [f"{finding.rule} {finding.name}: {finding.message}{_place(finding)}" for finding in _by_gravity(grave)]
    if against:
        more = [f"and {len(against) - _MOST} more"] if len(against) > _MOST else []
        return (*against[:_MOST], *more)
    return tuple(_in_favour(report))


def _in_favour(report: Report) -> list[str]:
    found = [f"{_several(len(report.models), 'model')} checked, nothing found that speaks against training"]
    if report.active:
        found = [f"{_several(len(report.models), 'model')} checked, {_several(len(report.active), 'remark')} of less weight"]
    for item in report.measurements:
        losses = [value for value in item.series.get("loss", ()) if value is not None]
        loss = f", loss {losses[0]:.4g} to {losses[-1]:.4g}" if losses else ""
        found.append(f"{item.target}: {_several(item.steps, 'step')} measured over {_several(len(item.layers), 'layer')}{loss}")
    if report.withdrawn:
        found.append(f"{_several(len(report.withdrawn), 'suspicion')} withdrawn after measuring")
    return found


def _by_gravity(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.severity.rank)


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _place(finding: Finding) -> str:
    return "" if finding.path is None else f" ({Path(finding.path).name}:{finding.line})"
