"""Runs that optimize: what they print and which files they write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.cli.printing import Printing, print_notes, print_problems, print_report, write_file
from normadvisor.cli.progress import shown_progress

if TYPE_CHECKING:
    from normadvisor.api.check import Checked, CheckOptions
    from normadvisor.config import Settings
    from normadvisor.report import RenderOptions

__all__ = ["optimize_targets"]


def optimize_targets(
    targets: Sequence[str],
    settings: Callable[[Path], Settings],
    options: CheckOptions,
    printing: Printing,
    *,
    report: Path | None,
    diff: bool,
) -> int:
    """Optimize targets, print the report, write the files, and return the exit code.

    Raises:
        NormAdvisorError: an option or the configuration is wrong, or a file cannot be written.

    """
    from normadvisor.api.check import run_check

    begin = time.monotonic()
    with shown_progress(quiet=printing.quiet) as progress:
        checked = run_check(targets, settings, options, progress=progress)
    elapsed = time.monotonic() - begin
    print_notes(checked, printing)
    _print(checked, printing, elapsed)
    if report is not None:
        write_file("--report", report, _rendered(report.suffix, checked, printing, elapsed))
    if diff:
        from normadvisor.cli.upgrade_diff import print_upgrades

        print_upgrades(targets, settings, options, printing, checked.report)
    return 2 if checked.report.problems else 0


def _print(checked: Checked, printing: Printing, elapsed: float) -> None:
    """The report on standard output or in a file: tables for people, other formats for machines."""
    name = printing.format or checked.settings.format
    if name == "text":
        from normadvisor.report.optimize import render_optimize

        if printing.output is None:
            sys.stdout.write(render_optimize(checked.report, _options(checked, printing, elapsed, stream=True)))
            return
        text = render_optimize(checked.report, _options(checked, printing, elapsed))
        write_file("--output", printing.output, text.encode("utf-8", "backslashreplace"))
        print_problems(checked)
        return
    if name == "markdown":
        data = _rendered(".md", checked, printing, elapsed)
        if printing.output is None:
            sys.stdout.write(data.decode("utf-8"))
        else:
            write_file("--output", printing.output, data)
        return
    print_report(checked, printing, elapsed)


def _rendered(suffix: str, checked: Checked, printing: Printing, elapsed: float) -> bytes:
    """The report as a file of this kind holds it."""
    options = _options(checked, printing, elapsed)
    if suffix == ".json":
        from normadvisor.report import render

        return render(checked.report, "json", options=options).encode("ascii")
    from normadvisor.report.optimize import html_optimize, markdown_optimize

    text = markdown_optimize(checked.report, options) if suffix == ".md" else html_optimize(checked.report, root=Path.cwd())
    return text.encode("utf-8", "backslashreplace")


def _options(checked: Checked, printing: Printing, elapsed: float, *, stream: bool = False) -> RenderOptions:
    from normadvisor.report import RenderOptions

    if stream:
        return RenderOptions.for_stream(
            sys.stdout, color=printing.use_color, root=Path.cwd(), rules=checked.rules, elapsed=elapsed, debug=printing.debug
        )
    return RenderOptions(
        color=bool(printing.use_color), root=Path.cwd(), rules=checked.rules, elapsed=elapsed, debug=printing.debug
    )  # fmt: skip
