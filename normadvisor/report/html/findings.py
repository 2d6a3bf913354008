"""Findings as they stand on the page: with their code, evidence and links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from rich.cells import get_character_cell_size

from normadvisor.report.clean import one_line, short
from normadvisor.report.frame import FrameLine, SourceLines, Span, code_frame
from normadvisor.report.html.markup import joined, tag
from normadvisor.report.html.tree import icon
from normadvisor.report.mends import kind_of, other_ways, titled
from normadvisor.report.modules import listed
from normadvisor.report.paths import place_of_finding, place_of_related, uri
from normadvisor.types import Applicability, Finding, Severity, Withdrawn

__all__ = ["FindingView", "PlaceLink", "finding_views", "withdrawn_views"]

WIDTH = 110
"""Columns of code."""
MOST_EVIDENCE = 14
MOST_RELATED = 6
MOST_MODULES = 6


class PlaceLink(NamedTuple):
    """A line of source code."""

    words: str
    href: str
    """Empty where there is no file."""
    message: str = ""


class FindingView(NamedTuple):
    """A finding, ready to be put on the page."""

    anchor: str
    icon: Markup
    severity: Severity
    rule: str
    name: str
    confidence: str
    message: str
    model: str
    place: PlaceLink
    code: Markup
    modules: str
    evidence: list[tuple[str, str]]
    related: list[PlaceLink]
    mends: list[tuple[str, str]]
    """Kind and words of each way to mend it."""
    reason: str = ""
    """The measurement that contradicts it."""


def finding_views(findings: Sequence[Finding], root: Path, *, prefix: str = "finding") -> list[FindingView]:
    """Findings in their order, with anchors that count from 1."""
    sources = SourceLines(root)
    return [_view(finding, f"{prefix}-{index}", root, sources) for index, finding in enumerate(findings, 1)]


def withdrawn_views(withdrawn: Iterable[Withdrawn], root: Path) -> list[FindingView]:
    """Findings that do not hold, each with the reason."""
    items = list(withdrawn)
    views = finding_views([item.finding for item in items], root, prefix="withdrawn")
    return [view._replace(reason=one_line(item.reason)) for view, item in zip(views, items, strict=True)]


def _view(finding: Finding, anchor: str, root: Path, sources: SourceLines) -> FindingView:
    evidence = [(one_line(key.replace("_", " ")), short(value)) for key, value in list(finding.evidence.items())[:MOST_EVIDENCE]]
    related = [
        PlaceLink(one_line(place_of_related(item, root)), _href(item.path, item.line, item.cell, root), one_line(item.message))
        for item in finding.related[:MOST_RELATED]
    ]
    mends = []
    if finding.fix is not None:
        kind = "" if finding.fix.applicability is Applicability.DISPLAY else kind_of(finding.fix)
        mends = [(kind, one_line(titled(finding.fix))), *(("or", one_line(words)) for words in other_ways(finding))]
    return FindingView(
        anchor, icon(finding.severity), finding.severity, one_line(finding.rule), one_line(finding.name), finding.confidence.value,
        one_line(finding.message), one_line(finding.model or ""),
        PlaceLink(one_line(place_of_finding(finding, root)), _href(finding.path, finding.line, finding.cell, root)),
        _code(finding, sources), listed(finding.modules, MOST_MODULES) if finding.modules else "", evidence, related, mends,
    )  # fmt: skip


def _href(path: str | None, line: int | None, cell: int | None, root: Path) -> str:
    """The file itself, so that the link works wherever the page is kept on this machine."""
    if not path:
        return ""
    try:
        absolute = str(root.absolute() / path)
    except ValueError:
        return ""
    return uri(absolute, Path()) + (f"#L{line}" if line and cell is None else "")


def _code(finding: Finding, sources: SourceLines) -> Markup:
    """The lines of the finding with those around, the span marked."""
    if finding.path is None or finding.line is None:
        return Markup("")
    span = Span(finding.line, finding.column, finding.end_line, finding.end_column)
    frame = code_frame(sources.of(finding.path, finding.cell), span, WIDTH)
    if not frame:
        return Markup("")
    rows = [
        tag(
            "span",
            tag("span", "" if line.number is None else str(line.number), class_="number"), _marked(line), "\n",
            class_="row marked" if line.marked else "row",
        )
        for line in frame
    ]  # fmt: skip
    return tag("pre", tag("code", *rows), class_="code", tabindex=0)


def _marked(line: FrameLine) -> Markup:
    """The text with its underlined columns, which are those of a terminal, in an element of their own."""
    if line.underline is None:
        return joined(line.text)
    start, length = line.underline
    cells, first, last = 0, len(line.text), len(line.text)
    for index, char in enumerate(line.text):
        if cells >= start and first == len(line.text):
            first = index
        if cells >= start + length:
            last = index
            break
        cells += get_character_cell_size(char)
    return joined(line.text[:first], tag("mark", line.text[first:last]), line.text[last:])
