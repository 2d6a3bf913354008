"""Tables in Markdown, as for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from normadvisor.report.formats.markdown_format import code_span, plain_text, problem_line
from normadvisor.report.optimize.sheet import COLUMNS, LEGEND, Sheet, sheet_of
from normadvisor.report.options import RenderOptions
from normadvisor.types import Report

__all__ = ["rendered"]


def rendered(report: Report, options: RenderOptions) -> str:
    """All models, then what could not be optimized; ends with a line feed."""
    parts = [part for found in report.optimizations for part in _model(sheet_of(found))]
    if report.problems:
        parts.append("\n".join(problem_line(problem, options, "optimize") for problem in report.problems))
    return "\n\n".join(parts or ["No model was optimized."]) + "\n"


def _model(sheet: Sheet) -> Iterator[str]:
    yield f"## {code_span(sheet.target)}"
    yield plain_text(sheet.setup)
    yield f"**{plain_text(sheet.headline)}**" + (f" {plain_text(sheet.detail)}." if sheet.detail else "")
    if sheet.rows:
        yield "\n".join(_table(sheet))
    if sheet.left:
        rows = [f"- {plain_text(row.rule)} {code_span(row.where)}: {plain_text(row.reason)}" for row in sheet.left]
        yield "\n".join(["Left as it is:", "", *rows])
    if sheet.variants:
        yield "\n".join(_variants(sheet))
    ends = [text for text in (sheet.keys, *sheet.saved, *(f"note: {note}" for note in sheet.notes)) if text]
    if ends:
        yield "\n".join(f"- {plain_text(text)}" for text in ends)


def _table(sheet: Sheet) -> Iterator[str]:
    yield plain_text(LEGEND[0].upper() + LEGEND[1:] + ".")
    yield ""
    yield "| | replacement | where | " + " | ".join(COLUMNS) + " |"
    yield "| --- | --- | --- |" + " ---: |" * (len(COLUMNS) - 1) + " --- |"
    for row in sheet.rows:
        numbers = " | ".join(map(plain_text, row.cells[:-1]))
        reason = "" if row.plain else f": {plain_text(row.meaning)}"
        verdict = f"**{plain_text(row.verdict)}**" if row.kept else plain_text(row.verdict)
        yield f"| {plain_text(row.rule)} | {plain_text(row.what)} | {code_span(row.where)} | {numbers} | {verdict}{reason} |"


def _variants(sheet: Sheet) -> Iterator[str]:
    yield "The optimized model run in other ways, against the original in eager mode:"
    yield ""
    yield "| | whole model | first call | error |"
    yield "| --- | ---: | ---: | ---: |"
    for row in sheet.variants:
        name = plain_text(f"{row.name}: {row.reason}" if row.reason else row.name)
        yield f"| {name} | {plain_text(row.ratio)} | {plain_text(row.cold_start)} | {plain_text(row.error)} |"
