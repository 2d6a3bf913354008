"""The verdict of an audit, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from normadvisor.report.clean import one_line
from normadvisor.report.measured.numbers import duration
from normadvisor.report.probe.paper import Paper
from normadvisor.types import Report

__all__ = ["verdict"]

_WORDS = {
    True: (" GO ", "bold white on green"), False: (" NO GO ", "bold white on red"), None: (" NOT JUDGED ", "bold black on yellow"),
}  # fmt: skip


def verdict(
    report: Report, paper: Paper, *, go: bool | None, reasons: Sequence[str], remarks: Sequence[str] = (), seconds: float | None
) -> Iterator[list[Text]]:
    """The word, why, how much it rests on, and what is worth a look although nothing hangs on it; ``go`` is ``None``: not judged."""
    word, style = _WORDS[go]
    models = ", ".join(one_line(item.target) for item in report.measurements or report.models)
    time = f"  {duration(seconds)}" if seconds is not None else ""
    with_remarks = " with remarks," if go and remarks else ""
    yield [Text.assemble((word, style), (f"{with_remarks} audit{f' of {models}' if models else ''}", "bold"), (time, "dim"))]
    if reasons:
        yield [line for reason in reasons for line in _reason(one_line(reason), paper)]
    if remarks:
        title = Text("remarks, which say nothing against training: mended, the model computes the same", style="bold")
        yield [*paper.wrapped(title), *(line for remark in remarks for line in _reason(one_line(remark), paper))]


def _reason(reason: str, paper: Paper) -> list[Text]:
    lines = paper.wrapped(Text(reason), 2)
    lines[0] = Text.assemble("- ", lines[0][2:])
    return lines
