"""Findings before and after edits: which are the same, although lines have moved."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from normadvisor.types import Edit, Finding

__all__ = ["Places", "pairs"]

_Place = tuple[int, int]
"""Line and column."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A span of an edited file, and the one that it took the place of."""

    begin: _Place
    end: _Place
    old_begin: _Place
    old_end: _Place


@dataclass(slots=True)
class Places:
    """Leads from places in edited files back to where they were before.

    Args:
        edits: of any number of files; none overlap.

    """

    edits: Iterable[Edit]
    _spans: dict[tuple[str, int | None], list[_Span]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        by_file: dict[tuple[str, int | None], list[Edit]] = {}
        for edit in dict.fromkeys(self.edits):
            by_file.setdefault((os.path.realpath(edit.path), edit.cell), []).append(edit)
        self._spans = {key: _spans(edits) for key, edits in by_file.items()}

    def before(self, path: str, cell: int | None, line: int, column: int) -> _Place:
        """Where a place in an edited file was before; what an edit has put there was where the edit began."""
        spans = self._spans.get((os.path.realpath(path), cell), [])
        position = bisect_right(spans, (line, column), key=lambda span: span.begin)
        if not position:
            return line, column
        span = spans[position - 1]
        if (line, column) < span.end:
            return span.old_begin
        return _moved((line, column), span.end, span.old_end)


def _spans(edits: Sequence[Edit]) -> list[_Span]:
    found: list[_Span] = []
    for edit in sorted(edits, key=lambda edit: (edit.line, edit.column, edit.end_line, edit.end_column)):
        old_begin, old_end = (edit.line, edit.column), (edit.end_line, edit.end_column)
        begin = _moved(old_begin, found[-1].old_end, found[-1].end) if found else old_begin
        lines = edit.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        end = (begin[0] + len(lines) - 1, len(lines[-1]) + (begin[1] if len(lines) == 1 else 1))
        found.append(_Span(begin, end, old_begin, old_end))
    return found


def _moved(place: _Place, start: _Place, to: _Place) -> _Place:
    """A place behind ``start``, once ``start`` has come to be at ``to``."""
    column = place[1] - start[1] + to[1] if place[0] == start[0] else place[1]
    return place[0] - start[0] + to[0], column


def pairs(before: Sequence[Finding], after: Sequence[Finding], places: Places) -> list[tuple[Finding | None, Finding | None]]:
    """Findings of one model, or of all scripts, before and after edits, each beside the one it was or became.

    The same is what the same rule says at the same place; else in the same line; else what has the same fingerprint, or is about one of the
    same modules: the place of a finding about the whole model is that of its first layer, which may be gone. Of findings without a place
    the rule decides. ``None`` stands beside what is new, and beside what is gone.
    """
    old, new = list(before), list(after)
    found: list[tuple[Finding | None, Finding | None]] = []

    def pair(of_old: Callable[[Finding], Hashable], of_new: Callable[[Finding], Hashable]) -> None:
        waiting: dict[Hashable, list[Finding]] = {}
        for finding in old:
            if (key := of_old(finding)) is not None:
                waiting.setdefault((finding.rule, key), []).append(finding)
        for finding in list(new):
            same = waiting.get((finding.rule, key)) if (key := of_new(finding)) is not None else None
            if same:
                found.append((same.pop(0), finding))
                old.remove(found[-1][0])  # type: ignore[arg-type]
                new.remove(finding)

    def moved(finding: Finding) -> tuple[str, int | None, int, int] | None:
        place = _place(finding)
        return None if place is None else (*place[:2], *places.before(*place))

    pair(_place, moved)
    pair(lambda finding: _line(_place(finding)), lambda finding: _line(moved(finding)))
    pair(lambda finding: (finding.fingerprint, finding.path), lambda finding: (finding.fingerprint, finding.path))
    pair(lambda finding: finding.modules or None, lambda finding: finding.modules or None)
    for finding in list(new):
        of_rule = [other for other in old if other.rule == finding.rule]
        same = next((other for other in of_rule if not set(finding.modules).isdisjoint(other.modules)), None)
        if same is None and finding.path is None:
            same = next((other for other in of_rule if other.path is None), None)
        if same is not None:
            found.append((same, finding))
            old.remove(same)
            new.remove(finding)
    return [*found, *((finding, None) for finding in old), *((None, finding) for finding in new)]


def _place(finding: Finding) -> tuple[str, int | None, int, int] | None:
    if finding.path is None or finding.line is None:
        return None
    return os.path.realpath(finding.path), finding.cell, finding.line, finding.column or 1


def _line(place: tuple[str, int | None, int, int] | None) -> tuple[str, int | None, int] | None:
    return None if place is None else place[:3]
