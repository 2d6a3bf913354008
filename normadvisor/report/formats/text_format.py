"""``text``: for people at a terminal. Findings with the code they are about, what could not be checked, and one line of summary."""

from __future__ import annotations

from normadvisor.report.options import RenderOptions
from normadvisor.report.tally import summary
from normadvisor.types import Report

__all__ = ["render"]

BOLD_GREEN, RESET = "\x1b[1;32m", "\x1b[0m"


def render(report: Report, options: RenderOptions) -> str:
    """The report as text; a clean run is one line and does not load rich."""
    if not (report.active or report.problems or report.graphs or report.unused_noqa or report.withdrawn):
        line = summary(report, options.elapsed)
        return f"{BOLD_GREEN}{line}{RESET}\n" if options.color else f"{line}\n"
    from normadvisor.report.printer import columns, printed  # noqa: PLC0415 - a clean run does without rich
    from normadvisor.report.textual import blocks  # noqa: PLC0415 - as above

    return printed(blocks(report, options, columns(options)), options)
