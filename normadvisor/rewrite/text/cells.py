"""Edits made in the cells of a notebook: the rest of its JSON is kept byte for byte."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from normadvisor.errors import RewriteError, TargetError
from normadvisor.files.notebook import notebook_in
from normadvisor.files.source import decoded, parse_text
from normadvisor.rewrite.text.lines import BREAK, Splice, TextLines
from normadvisor.types import Edit, Location

__all__ = ["applied_to_cells"]

_SPACE = re.compile(r"[ \t\n\r]*")
_LETTER = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)
"""One character of a JSON string as it is written; a pair of surrogates is one."""
_MARK = b"\xef\xbb\xbf"
_decoder = json.JSONDecoder()

_Span = tuple[int, int]


def applied_to_cells(data: bytes, path: Path, edits: Sequence[Edit]) -> bytes:
    """The contents of a notebook after edits, which count lines within their cells.

    Args:
        data: contents of the file.
        path: the file, for errors.
        edits: what to change, all different.

    Raises:
        RewriteError: edits overlap or leave their cells, or the cells are no Python afterwards while they were.
        TargetError: the file is no notebook.

    """
    mark = _MARK if data.startswith(_MARK) else b""
    text = decoded(data[len(mark) :], "utf-8", path)
    before = notebook_in(text, path)
    expected = {cell.number: "\n".join(cell.source) for cell in before.cells}
    spans = _sources(text)
    changed: list[tuple[int, int, str]] = []
    for number in dict.fromkeys(edit.cell for edit in edits):
        own = [edit for edit in edits if edit.cell == number]
        if number is None or number not in expected:
            place = Location(str(path), own[0].line, own[0].column, cell=number)
            raise RewriteError("an edit leaves the notebook: there is no such cell of code", location=place)
        source = _CellSource(text, *spans[number - 1])
        changed += [source.written(splice) for splice in source.lines.splices(own)]
        expected[number] = _edited(expected[number], own)
    result = text
    for begin, end, inserted in sorted(changed, reverse=True):
        result = result[:begin] + inserted + result[end:]
    first = edits[0]
    _check(before.text, expected, result, Location(str(path), first.line, first.column, cell=first.cell))
    return mark + result.encode()


def _edited(text: str, edits: Sequence[Edit]) -> str:
    """A text with line feeds alone after edits."""
    for splice in reversed(TextLines(text).splices(edits)):
        text = text[: splice.begin] + BREAK.sub("\n", splice.edit.text) + text[splice.end :]
    return text


def _check(before: str, expected: dict[int, str], result: str, place: Location) -> None:
    """See to it that the JSON says what was meant, and that the cells are still Python."""
    path = Path(place.path)
    try:
        after = notebook_in(result, path)
        same = {cell.number: "\n".join(cell.source) for cell in after.cells} == expected
    except TargetError:
        same = False
    if not same:
        raise RewriteError("the edit cannot be made in the JSON of the notebook", location=place)
    try:
        parse_text(before, path)
    except TargetError:
        return
    try:
        parse_text(after.text, path, after)
    except TargetError as error:
        raise RewriteError(f"the edits would break the file: {error.message}", location=error.location) from error


class _CellSource:
    """The source of one cell: what it says, and where every character of that is written.

    Args:
        text: the notebook.
        begin: where the value of ``source`` begins: one string, or a list with a string for every line.
        end: where it ends.

    """

    def __init__(self, text: str, begin: int, end: int) -> None:
        spans = _members(text, begin) if text[begin] == "[" else [("", (begin, end))]
        strings = [span for _, span in spans if text[span[0]] == '"']
        # Where each character of each string is written, and where the string ends, before its quotation mark.
        self._letters = [[begin + 1 + found.start() for found in _LETTER.finditer(text[begin + 1 : end - 1])] for begin, end in strings]
        self._ends = [end - 1 for _, end in strings]
        self._firsts = list(accumulate((len(letters) for letters in self._letters), initial=0))
        self._separator = ""
        if text[begin] == "[" and strings:
            first = strings[0][0]
            between = text[self._ends[0] + 1 : strings[1][0]] if len(strings) > 1 else f",{text[begin + 1 : first] or ' '}"
            self._separator = f'"{between}"'
        self._ascii = text.isascii()
        self.lines = TextLines("".join(_decoder.raw_decode(text, begin)[0] for begin, _ in strings))

    def _place(self, offset: int) -> int:
        """Where a position of what the cell says is written; between two strings that is the beginning of the second."""
        index = min(bisect_right(self._firsts, offset), len(self._letters)) - 1
        within = offset - self._firsts[index]
        return self._letters[index][within] if within < len(self._letters[index]) else self._ends[index]

    def written(self, splice: Splice) -> tuple[int, int, str]:
        """An edit of the cell as one of the notebook's text: begin, end, and new JSON; in a list every line is a string of its own.

        Raises:
            RewriteError: there is no string that the edit could go into, or its text cannot be written as UTF-8.

        """
        if not self._letters:
            raise RewriteError("a cell without a line cannot be edited", location=splice.location)
        ending = self.lines.ending_at(splice.begin)
        *full, last = BREAK.split(splice.edit.text)
        parts = [*(f"{part}{ending}" for part in full), last]
        inserted = self._separator.join(json.dumps(part, ensure_ascii=self._ascii)[1:-1] for part in parts)
        try:
            inserted.encode()
        except UnicodeEncodeError as error:
            raise RewriteError("the text holds half of a character", location=splice.location) from error
        return self._place(splice.begin), self._place(splice.end), inserted


def _sources(text: str) -> list[_Span]:
    """Where the source of each cell stands, text cells included; the notebook is known to be valid."""
    top = dict(_members(text, _space(text, 0)))
    lists = [top["cells"]] if "cells" in top and text[top["cells"][0]] == "[" else []
    if not lists:
        sheets = [dict(_members(text, begin)) for _, (begin, _) in _members(text, top["worksheets"][0]) if text[begin] == "{"]
        lists = [sheet["cells"] for sheet in sheets if "cells" in sheet]
    found: list[_Span] = []
    for begin, _ in lists:
        if text[begin] != "[":
            continue
        for _, (first, last) in _members(text, begin):
            cell = dict(_members(text, first)) if text[first] == "{" else {}
            found.append(cell.get("source") or cell.get("input") or (first, last))
    return found


def _members(text: str, begin: int) -> list[tuple[str, _Span]]:
    """Where the values of a JSON object or list stand, with their names; lists have none."""
    named = text[begin] == "{"
    found: list[tuple[str, _Span]] = []
    position = _space(text, begin + 1)
    while text[position] not in "]}":
        name = ""
        if named:
            name, position = _decoder.raw_decode(text, position)
            position = _space(text, _space(text, position) + 1)
        end = _decoder.raw_decode(text, position)[1]
        found.append((name, (position, end)))
        position = _space(text, end)
        if text[position] == ",":
            position = _space(text, position + 1)
    return found


def _space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found is not None else position
