"""Lines and columns of edits as positions in a text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from normadvisor.errors import RewriteError
from normadvisor.types import Edit, Location

__all__ = ["BREAK", "Splice", "TextLines"]

BREAK = re.compile(r"\r\n|\r|\n")
"""What ends a line for Python; form feeds and the separators of Unicode do not."""


@dataclass(frozen=True, slots=True)
class Splice:
    """An edit as positions in a text."""

    edit: Edit
    begin: int
    end: int

    @property
    def location(self) -> Location:
        """Where the edit stands in the file."""
        return _location(self.edit)


def _location(edit: Edit) -> Location:
    return Location(edit.path, edit.line, edit.column, edit.end_line, edit.end_column, edit.cell)


class TextLines:
    """A text and its lines.

    Attributes:
        text: what it says, line endings as they are.

    """

    def __init__(self, text: str) -> None:
        self.text = text
        breaks = list(BREAK.finditer(text))
        self._starts = [0, *(found.end() for found in breaks)]
        self._ends = [*(found.start() for found in breaks), len(text)]
        self._endings = [found.group() for found in breaks]

    def offset(self, line: int, column: int) -> int | None:
        """Position in :attr:`text` of a line and a column (1-based, in code points); ``None`` if there is no such place."""
        if not 1 <= line <= len(self._starts):
            return None
        offset = self._starts[line - 1] + column - 1
        return offset if column >= 1 and offset <= self._ends[line - 1] else None

    def ending_at(self, offset: int) -> str:
        """How the line at a position ends; as the line before it where it is the last, by a line feed where it is the only one."""
        line = bisect_right(self._starts, offset) - 1
        if not self._endings:
            return "\n"
        return self._endings[min(line, len(self._endings) - 1)]

    def splices(self, edits: Iterable[Edit]) -> list[Splice]:
        """Different edits in the order of the text; an insertion stands before what is replaced from the same place on.

        Raises:
            RewriteError: edits overlap or leave the text.

        """
        found: list[Splice] = []
        for edit in edits:
            begin, end = self.offset(edit.line, edit.column), self.offset(edit.end_line, edit.end_column)
            if begin is None or end is None or end < begin:
                raise RewriteError("an edit leaves the file: it has no such place", location=_location(edit))
            found.append(Splice(edit, begin, end))
        found.sort(key=lambda splice: (splice.begin, splice.end))
        for first, second in pairwise(found):
            both_insert = first.begin == first.end == second.begin == second.end
            if second.begin < first.end or both_insert:
                place = f"{first.edit.line}:{first.edit.column}"
                raise RewriteError(f"an edit overlaps the one at {place}", location=second.location)
        return found
