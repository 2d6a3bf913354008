"""``text``: for people at a terminal. Findings with the code they are about, what could not be checked, and one line of summary."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from normadvisor.report.options import NARROWEST, RenderOptions
from normadvisor.report.tally import summary
from normadvisor.types import Report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render"]

BOLD_GREEN, RESET = "\x1b[1;32m", "\x1b[0m"


def render(report: Report, options: RenderOptions) -> str:
    """The report as text; a clean run is one line and does not load rich."""
    if not (report.active or report.problems or report.graphs or report.unused_noqa):
        line = summary(report, options.elapsed)
        return f"{BOLD_GREEN}{line}{RESET}\n" if options.color else f"{line}\n"
    from rich.console import Console  # noqa: PLC0415 - a clean run does without

    from normadvisor.report.textual import blocks  # noqa: PLC0415 - as above

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=options.color,
        color_system="standard" if options.color else None,
        no_color=not options.color,
        width=max(NARROWEST, options.width),
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
    _print(console, blocks(report, options, console.width))
    return buffer.getvalue()


def _print(console: Console, found: Iterable[Iterable[object]]) -> None:
    for index, block in enumerate(found):
        if index:
            console.print()
        for line in block:
            console.print(line, soft_wrap=True)
