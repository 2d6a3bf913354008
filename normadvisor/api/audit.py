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
from normadvisor.api.verdict import MOST, Verdict, place_words, verdict_of
from normadvisor.config import Settings
from normadvisor.errors import AuditError, UsageError
from normadvisor.types import Measurements, Severity

if TYPE_CHECKING:
    import torch

__all__ = ["AuditReport", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport(ProbeResult):
    """The verdict on one model or several. Printed, it is what ``normadvisor audit`` shows."""

    @property
    def verdict(self) -> Verdict:
        """Go or no-go with its reasons, judged as the configuration's ``fail-on`` says."""
        return verdict_of(self.report, self.settings.fail_on)

    @property
    def go(self) -> bool:
        """Whether training may start.

        Everything was checked and measured, a gradient arrived, and nothing found is as grave as ``fail-on``, but for remarks.
        """
        return self.verdict.go

    @property
    def exit_code(self) -> int:
        """As the command line's: 0 go, 1 no-go, 2 something could not be judged."""
        return self.verdict.code

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, or why not; one sentence each."""
        return self.verdict.reasons

    @property
    def remarks(self) -> tuple[str, ...]:
        """Findings that say nothing against training, since their fix computes the same function: a sentence each."""
        return self.verdict.remarks

    def __str__(self) -> str:
        """The verdict, why, and what it rests on, without colours."""
        from normadvisor.report.probe import render_audit

        found = self.verdict
        text = render_audit(
            self.report, self._options(), go=found.shown, reasons=found.reasons, remarks=found.remarks, seconds=self.seconds
        )  # fmt: skip
        return text.rstrip("\n")

    def raise_on(self, severity: str | Severity = Severity.ERROR) -> None:
        """Raise where something at least so grave and no remark was found, something could not be judged, or nothing can be learned.

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
        found = verdict_of(self.report, least)
        words = [f"{finding.rule} {finding.name}: {finding.message}{place_words(finding)}" for finding in found.against]
        words += [*found.unlearnable, *(f"{problem.target}: {problem.message}" for problem in self.report.problems)]
        if words:
            more = f"; and {len(words) - MOST} more" if len(words) > MOST else ""
            raise AuditError(f"{'; '.join(words[:MOST])}{more}", findings=found.against, problems=self.report.problems)

    def to_dict(self) -> dict[str, Any]:
        """What ``normadvisor audit --json`` writes: that of a probe, with ``audit: {go, reasons, remarks}``."""
        # Not super(): a dataclass with slots is made anew, and the class it would look in is the first.
        return {**ProbeResult.to_dict(self), "audit": self.verdict.to_dict()}

    def html(self, path: str | Path, *, compare: Measurements | Sequence[Measurements] | None = None) -> None:
        """Write the page as one HTML file that needs no other; it is in place whole or not at all.

        Args:
            path: the file.
            compare: an earlier run, or several.

        Raises:
            UsageError: it cannot be written.

        """
        from normadvisor.report.html import html_audit

        found = self.verdict
        page = html_audit(
            self.report, go=found.shown, reasons=found.reasons, remarks=found.remarks, compare=compare, root=Path.cwd()
        )  # fmt: skip
        write_text(Path(path), page)


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
