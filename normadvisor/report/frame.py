"""The piece of source code a finding is about, ready to print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

from rich.cells import get_character_cell_size

from normadvisor.errors import TargetError
from normadvisor.files.notebook import Notebook
from normadvisor.files.source import read_bytes, text_of
from normadvisor.report.clean import printable

__all__ = ["FrameLine", "SourceLines", "code_frame"]

TAB = 4
"""Tab stops of the printed code, in columns."""
MOST_SPANNED = 8
"""Lines of a long span that are shown before it is cut."""


class FrameLine(NamedTuple):
    """One printed line of code."""

    number: int | None
    """Line number; ``None`` where lines were left out."""
    text: str
    """Printable, clipped to the width asked for."""
    marked: bool
    """Whether the line belongs to the span."""
    underline: tuple[int, int] | None
    """First column and width of the underline, in terminal cells; ``None`` for none."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a file to show. 1-based, end exclusive, columns in code points."""

    line: int
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None


class SourceLines:
    """Lines of source files, each file read once; a file that cannot be read has none."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read = cache(self._load)

    def of(self, path: str, cell: int | None = None) -> tuple[str, ...]:
        """The lines of ``path`` (relative to the root if not absolute), or of a cell of that notebook, without their ends."""
        lines, notebook = self._read(path)
        if cell is None:
            return lines
        return notebook.source(cell) if notebook is not None else ()

    def _load(self, path: str) -> tuple[tuple[str, ...], Notebook | None]:
        place = self._root / path
        try:
            text, notebook = text_of(read_bytes(place), place)
        except (TargetError, ValueError):  # ValueError: a NUL in the path
            return (), None
        return tuple(text.split("\n")), notebook


def code_frame(lines: tuple[str, ...], span: Span, width: int, *, ellipsis: str = "\u2026", context: int = 1) -> list[FrameLine]:
    """The lines of ``span`` with ``context`` lines around, none wider than ``width`` cells; empty where the file has no such line."""
    if not 1 <= span.line <= len(lines):
        return []
    last = min(max(span.end_line or span.line, span.line), len(lines))
    shown = last if last - span.line < MOST_SPANNED else span.line + MOST_SPANNED - 2
    numbers = list(range(max(1, span.line - context), min(len(lines), shown + context * (shown == last)) + 1))
    if shown < last:
        numbers.append(last)
    texts = [lines[number - 1] for number in numbers]
    # Indentation is given up where it would cost code that the reader came for.
    tight = any(len(text.expandtabs(TAB)) > width for number, text in zip(numbers, texts, strict=True) if span.line <= number <= last)
    cut = _indentation(texts) if tight else 0
    frame = []
    for number, text in zip(numbers, texts, strict=True):
        marks = _marks(text, number, span, last)
        shifted = marks._replace(start=_less(marks.start, cut), stop=_less(marks.stop, cut))
        if number == last > shown:
            frame.append(FrameLine(None, ellipsis, marked=True, underline=None))
        frame.append(_line(text[cut:], number, shifted, width, ellipsis))
    while not (frame[-1].marked or frame[-1].text):  # empty lines around the span tell nothing
        frame.pop()
    while not (frame[0].marked or frame[0].text):
        frame.pop(0)
    return frame


def _indentation(texts: list[str]) -> int:
    """Number of white space characters that all lines with code begin with."""
    code = [text for text in texts if text.strip()]
    common = commonprefix(code)  # noqa: RUF071 - character by character is what is wanted
    return len(common) - len(common.lstrip())


class _Marks(NamedTuple):
    marked: bool
    start: int | None
    stop: int | None
    """Code points of the line that are underlined, 0-based, end exclusive."""


def _marks(text: str, number: int, span: Span, last: int) -> _Marks:
    if not span.line <= number <= last:
        return _Marks(marked=False, start=None, stop=None)
    if number != span.line or span.column is None:
        return _Marks(marked=True, start=None, stop=None)
    start = min(max(span.column - 1, len(text) - len(text.lstrip()) if text.strip() else 0), len(text))
    # A comment after the first line of a longer call is no part of it, nor is the white space at its end.
    stop = len(text.rstrip()) if last > span.line else (span.end_column or 0) - 1
    if span.end_column is None and last == span.line:
        word = re.compile(r"[\w.]*").match(text, start)
        stop = word.end() if word else start
    return _Marks(marked=True, start=start, stop=min(max(stop, start + 1), max(len(text), start + 1)))


def _line(text: str, number: int, marks: _Marks, width: int, ellipsis: str) -> FrameLine:
    """Expand tabs, escape what does not print, and clip to ``width`` cells around the underlined part."""
    start = 0
    if len(text) > 20 * width:  # generated code: do not measure megabytes to show a hundred columns
        start = max(0, (marks.start or 0) - width)
        text = text[start : start + 4 * width]
        marks = marks._replace(start=_less(marks.start, start), stop=_less(marks.stop, start))
    pieces, edges = _cells(text.rstrip())
    total = edges[-1]
    left = right = None
    if marks.start is not None and marks.stop is not None:
        left = edges[min(marks.start, len(pieces))]
        right = max(edges[min(marks.stop, len(pieces))], left + 1)
    if total <= width and not start:
        return FrameLine(number, "".join(pieces), marks.marked, None if left is None or right is None else (left, right - left))
    return _clipped(pieces, edges, (left, right), FrameLine(number, ellipsis, marks.marked, None), width, cut=start > 0)


def _less(position: int | None, by: int) -> int | None:
    return None if position is None else position - by


def _clipped(
    pieces: list[str], edges: list[int], mark: tuple[int | None, int | None], line: FrameLine, width: int, *, cut: bool
) -> FrameLine:
    """The window of a long line that shows the start of the underlined part, with ``line.text`` where something was left out."""
    dots = len(line.text)
    left, right = mark
    first = 0
    if left is not None and right is not None and right > width - dots:
        wanted = max(0, left - min(width // 4, max(0, width - 2 * dots - (right - left))))
        first = next((index for index, edge in enumerate(edges) if edge >= wanted), 0)
    before = line.text if first or cut else ""
    room = width - len(before)
    last = first
    while last < len(pieces) and edges[last + 1] - edges[first] <= room - (dots if last + 1 < len(pieces) else 0):
        last += 1
    after = line.text if last < len(pieces) else ""
    underline = None
    if left is not None and right is not None:
        begin = min(max(left - edges[first], 0), max(room - 1, 0))
        end = max(min(right, edges[last]) - edges[first], begin + 1)
        underline = (begin + len(before), end - begin)
    return line._replace(text=before + "".join(pieces[first:last]) + after, underline=underline)


def _cells(text: str) -> tuple[list[str], list[int]]:
    """What is printed for each code point, and the cell at which each begins (one more entry for the end)."""
    pieces: list[str] = []
    edges = [0]
    for char in text:
        piece = " " * (TAB - edges[-1] % TAB) if char == "\t" else printable(char)
        pieces.append(piece)
        edges.append(edges[-1] + (len(piece) if len(piece) > 1 else get_character_cell_size(piece)))
    return pieces, edges
