"""The text of a file by offsets: what a node spans with its parentheses, whole lines, and edits between two offsets."""

from __future__ import annotations

import ast
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from normadvisor.types import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from normadvisor.rewrite.source.place import SourceTree

__all__ = ["Text", "joined"]

_BLANK = " \t\f"
_SPACE = " \t\f\n\\"


class Text:
    """A file's text, addressed by 0-based offsets in code points.

    Args:
        tree: the file.

    """

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        self.text = tree.module.text
        self._starts = [0, *accumulate(len(line) + 1 for line in tree.module.lines)]

    def start(self, node: ast.AST) -> int:
        """Where a node begins, without parentheses around it."""
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where a node ends, without parentheses around it."""
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        """The text of a node, parentheses around it included."""
        start, end = self.extent(node)
        return self.text[start:end]

    def extent(self, node: ast.AST) -> tuple[int, int]:
        """Where an expression begins and ends, parentheses around it included; those of a call it is an argument of are not."""
        start, end = self.start(node), self.end(node)
        last = self._last_of_parent(node)
        while True:
            before, after = self.before(start), self.after(end)
            if before < 0 or self.text[before] != "(" or self.text[after : after + 1] != ")" or after >= last:
                return start, end
            start, end = before, after + 1

    def before(self, offset: int) -> int:
        """Offset of the last character before an offset that is no white space; -1 if there is none."""
        offset -= 1
        while offset >= 0 and self.text[offset] in _SPACE:
            offset -= 1
        return offset

    def after(self, offset: int) -> int:
        """Offset of the first character from an offset on that is no white space, or the end of the text."""
        while offset < len(self.text) and self.text[offset] in _SPACE:
            offset += 1
        return offset

    def line(self, offset: int) -> int:
        """Number of the line of an offset, from 1."""
        return self._position(offset)[0]

    def line_start(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return self.text.rfind("\n", 0, offset) + 1

    def line_end(self, offset: int) -> int:
        """Where the line of an offset ends, before its line break."""
        found = self.text.find("\n", offset)
        return len(self.text) if found < 0 else found

    def indentation(self, offset: int) -> str:
        """The white space that the line of an offset begins with."""
        line = self.text[self.line_start(offset) : self.line_end(offset)]
        return line[: len(line) - len(line.lstrip(_BLANK))]

    def begins_line(self, offset: int) -> bool:
        """Whether only white space stands before an offset on its line."""
        return not self.text[self.line_start(offset) : offset].strip(_BLANK)

    def ends_line(self, offset: int) -> bool:
        """Whether only white space or a comment stands behind an offset on its line."""
        rest = self.text[offset : self.line_end(offset)].strip(_BLANK)
        return not rest or rest.startswith("#")

    def edit(self, start: int, end: int, text: str = "") -> Edit:
        """Other text between two offsets."""
        line, column = self._position(start)
        end_line, end_column = self._position(end)
        cells = self.tree.module.cells
        if cells is None:
            return Edit(self.tree.module.path, line, column, end_line, end_column, text)
        place = cells.location(line, column, end_line, end_column)
        return Edit(place.path, place.line, place.column, place.end_line or line, place.end_column or column, text, place.cell)

    def lines_removed(self, start: int, end: int) -> Edit:
        """The whole lines from an offset to another taken out; where blank lines stand on both sides, those of one side go as well."""
        first, last = self.line_start(start), min(self.line_end(end) + 1, len(self.text))
        above, below = first, last
        while above > 0 and self._is_blank(above - 1):
            above = self.line_start(above - 1)
        while below < len(self.text) and self._is_blank(below):
            below = min(self.line_end(below) + 1, len(self.text))
        if above < first and (below > last or below == len(self.text)):
            # At the end of a block the lines that part it from the next are those to keep.
            ends_block = below == len(self.text) or len(self.indentation(below)) < len(self.indentation(first))
            first, last = (above, last) if ends_block else (first, below)
        if last == len(self.text) and not self.text.endswith("\n"):
            first = max(first - 1, 0)
        return self.edit(first, last)

    def _is_blank(self, offset: int) -> bool:
        return not self.text[self.line_start(offset) : self.line_end(offset)].strip()

    def _offset(self, line: int, column: int) -> int:
        text = self.tree.module.lines[line - 1]
        points = column if text.isascii() else len(text.encode()[:column].decode(errors="ignore"))
        return self._starts[line - 1] + points

    def _position(self, offset: int) -> tuple[int, int]:
        line = self.text.count("\n", 0, offset)
        return line + 1, offset - self._starts[line] + 1

    def _last_of_parent(self, node: ast.AST) -> int:
        """Offset of the bracket that closes the call, tuple, list or class that a node is part of."""
        parent = self.tree.parents.get(node)
        while isinstance(parent, ast.keyword | ast.Starred):
            parent = self.tree.parents.get(parent)
        if isinstance(parent, ast.expr):
            return self.end(parent) - 1 if isinstance(parent, ast.Call | ast.Tuple | ast.GeneratorExp) else self.end(parent)
        return len(self.text)


def joined(edits: Iterable[Edit]) -> list[Edit]:
    """Edits in the order of their files, equal ones once, and deletions that overlap as one."""
    found: list[Edit] = []
    for edit in sorted(dict.fromkeys(edits), key=_place):
        last = found[-1] if found else None
        same = last is not None and not edit.text and not last.text and (last.path, last.cell) == (edit.path, edit.cell)
        if last is None or not same or (edit.line, edit.column) > (last.end_line, last.end_column):
            found.append(edit)
        elif (edit.end_line, edit.end_column) > (last.end_line, last.end_column):
            found[-1] = replace(last, end_line=edit.end_line, end_column=edit.end_column)
    return found


def _place(edit: Edit) -> tuple[str, int, int, int, int, int]:
    return edit.path, edit.cell or 0, edit.line, edit.column, edit.end_line, edit.end_column
