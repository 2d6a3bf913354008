"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from normadvisor.report.optimize.sheet import COLUMNS, LEGEND, LeftRow, Row, Sheet, VariantRow, sheet_of
from normadvisor.report.options import RenderOptions
from normadvisor.report.probe.paper import Paper
from normadvisor.report.tally import counted
from normadvisor.report.textual import problem_lines
from normadvisor.types import Report

__all__ = ["blocks"]

_COLORS = {
    "kept": "bold green", "no gain": "dim", "slower": "yellow", "not equal": "bold red", "not proven": "yellow", "not measured": "yellow",
}  # fmt: skip
_TITLE = "replacement"
_INDENT = 7
"""Columns of the rule's id before what is replaced."""
_MOST_LEFT = 12
"""Reasons that are named."""


def blocks(report: Report, options: RenderOptions, width: int) -> Iterator[list[Text]]:
    """Everything that is printed, each block separated from the next by an empty line."""
    paper = Paper(options, width)
    for found in report.optimizations:
        yield from _model(sheet_of(found), paper)
    yield from problem_lines(report, options, width, "optimize")
    yield [_summary(report, options)]


def _model(sheet: Sheet, paper: Paper) -> Iterator[list[Text]]:
    yield [
        *paper.wrapped(Text(sheet.target, style="bold")), *paper.wrapped(Text(sheet.setup, style="dim")),
        *paper.wrapped(Text(sheet.headline, style="bold green" if sheet.gained else "bold")),
        *(paper.wrapped(Text(sheet.detail, style="dim")) if sheet.detail else ()),
    ]  # fmt: skip
    if sheet.rows:
        yield list(_table(sheet.rows, paper))
    if sheet.left:
        yield list(_left(sheet.left, paper))
    if sheet.variants:
        yield list(_variants(sheet.variants, paper))
    ends = [line for text in (sheet.keys, *sheet.saved) if text for line in paper.wrapped(Text(text))]
    ends += [line for note in sheet.notes for line in paper.wrapped(Text(f"note: {note}", style="dim"))]
    if ends:
        yield ends


def _table(rows: Sequence[Row], paper: Paper) -> Iterator[Text]:
    """A line of numbers per replacement; below, why it was not kept, and where it is."""
    sizes = [max(cell_len(title), *(cell_len(row.cells[index]) for row in rows)) for index, title in enumerate(COLUMNS)]
    numbers = sum(sizes) + 2 * len(sizes)
    longest = max(len(_TITLE), *(cell_len(row.what) for row in rows))
    beside = _INDENT + longest + numbers <= paper.width
    name = longest if beside else max(0, paper.width - _INDENT - numbers)
    yield Text(f"{'':{_INDENT}}{_TITLE if beside else '':<{name}}{_cells(COLUMNS, sizes)}", style="dim")
    for row in rows:
        numbers_line = _cells(row.cells, sizes)
        style = "" if row.kept else "dim"
        head = f"{row.rule:<{_INDENT}}"
        if beside:
            yield _colored(Text(f"{head}{row.what:<{name}}{numbers_line}"), row)
        else:
            yield from paper.wrapped(Text(f"{head}{row.what}", style="bold" if row.kept else ""))
            yield _colored(Text(" " * (_INDENT + name) + numbers_line), row)
        for text in ("" if row.plain else row.meaning, row.where, row.spread and f"quartiles: {row.spread}"):
            if text:
                yield from paper.wrapped(Text(text, style=style or "dim"), _INDENT)
    yield from paper.wrapped(Text(LEGEND, style="dim"))


def _cells(cells: Sequence[str], sizes: Sequence[int]) -> str:
    """Numbers to the right, the verdict to the left."""
    padded = ["  " + " " * (size - cell_len(cell)) + cell for cell, size in zip(cells[:-1], sizes[:-1], strict=True)]
    return "".join(padded) + "  " + cells[-1]


def _colored(line: Text, row: Row) -> Text:
    line.stylize(_COLORS.get(row.verdict, ""), len(line.plain) - len(row.verdict))
    return line


def _left(rows: Sequence[LeftRow], paper: Paper) -> Iterator[Text]:
    yield Text("left as it is", style="bold")
    for row in rows[:_MOST_LEFT]:
        yield from paper.wrapped(Text.assemble((f"{row.rule:<{_INDENT}}", ""), row.where, (f": {row.reason}", "dim")))
    if len(rows) > _MOST_LEFT:
        yield Text(f"and for {counted(len(rows) - _MOST_LEFT, 'more reason')}; the JSON report has all", style="dim")


def _variants(rows: Sequence[VariantRow], paper: Paper) -> Iterator[Text]:
    yield from paper.wrapped(Text("the optimized model run in other ways, against the original in eager mode", style="bold"))
    width = max(cell_len(row.name) for row in rows)
    for row in rows:
        if row.reason:
            yield from paper.wrapped(Text(f"{row.name:<{width}}  {row.reason}"))
        else:
            yield from paper.wrapped(Text(f"{row.name:<{width}}  {row.ratio:>6}  first call {row.cold_start}, error {row.error}"))


def _summary(report: Report, options: RenderOptions) -> Text:
    found = report.optimizations
    kept = sum(len(each.kept) for each in found)
    parts = [f"Kept {counted(kept, 'replacement')} in {counted(len(found), 'model')}"] if found else ["No model was optimized"]
    if report.problems:
        parts.append(f"{counted(len(report.problems), 'target')} could not be optimized")
    time = "" if options.elapsed is None else f" ({options.elapsed:.1f} s)"
    return Text("; ".join(parts) + time + ".", style="bold red" if report.problems else "bold green" if kept else "bold")
