"""The verdict of an audit, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.numbers import duration
from normadvisor.report.probe.paper import Paper
from normadvisor.types import Report

__all__ = ["verdict"]


def verdict(report: Report, paper: Paper, *, go: bool, reasons: Sequence[str], seconds: float | None) -> Iterator[list[Text]]:
    """The word, why, and how much it rests on."""
    style = "bold white on green" if go else "bold white on red"
    models = ", ".join(one_line(item.target) for item in report.measurements or report.models)
    time = f"  {duration(seconds)}" if seconds is not None else ""
    word = " GO " if go else " NO GO "
    yield [Text.assemble((word, style), (f" audit{f' of {models}' if models else ''}", "bold"), (time, "dim"))]
    if reasons:
        yield [line for reason in reasons for line in _reason(one_line(reason), paper)]


def _reason(reason: str, paper: Paper) -> list[Text]:
    lines = paper.wrapped(Text(reason), 2)
    lines[0] = Text.assemble("- ", lines[0][2:])
    return lines
