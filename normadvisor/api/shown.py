"""What came of a run that measured, in every way it can be shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.types import Finding, Measurements, Report

if TYPE_CHECKING:
    from normadvisor.report import RenderOptions
    from normadvisor.rulebook.model import Rule

__all__ = ["ProbeResult", "write_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Numbers of every probed model, and what the rules make of them. Printed, it is what ``normadvisor probe`` shows."""

    report: Report
    settings: Settings = field(repr=False)
    rules: Mapping[str, Rule] = field(default_factory=dict, repr=False)
    seconds: float | None = None
    """Duration of the run."""

    @property
    def measurements(self) -> tuple[Measurements, ...]:
        """One entry per model that could be measured."""
        return self.report.measurements

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings that are not suppressed."""
        return self.report.active

    @property
    def exit_code(self) -> int:
        """As the command line's: 0 clean, 1 findings, 2 something could not be measured."""
        return self.report.exit_code(self.settings.fail_on)

    def __str__(self) -> str:
        """Findings, layers and curves as text, without colours."""
        from normadvisor.report.probe import render_probe

        return render_probe(self.report, self._options()).rstrip("\n")

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` writes, numbers that are not finite as ``"nan"``, ``"inf"`` and ``"-inf"``."""
        from normadvisor.report import render

        data: dict[str, Any] = json.loads(render(self.report, "json", options=self._options()))
        return data

    def html(self, path: str | Path, *, compare: Measurements | Sequence[Measurements] | None = None) -> None:
        """Write one HTML file that needs no other; it is in place whole or not at all.

        Args:
            path: the file.
            compare: an earlier run, or several.

        Raises:
            UsageError: it cannot be written.

        """
        from normadvisor.report.html import html_probe

        write_text(Path(path), html_probe(self.report, compare=compare, root=Path.cwd()))

    def _options(self) -> RenderOptions:
        from normadvisor.report import RenderOptions

        return RenderOptions(root=Path.cwd(), rules=self.rules, elapsed=self.seconds, fail_on=self.settings.fail_on)


def write_text(path: Path, text: str) -> None:
    """Put a file in its place in one step.

    Raises:
        UsageError: it cannot be written.

    """
    from normadvisor.files.replace import replace_file

    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
