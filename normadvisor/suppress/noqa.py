"""Silence findings by comments in the code, and say which comments silence nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

from normadvisor.config.suggest import closest
from normadvisor.errors import TargetError
from normadvisor.files.notebook import Notebook
from normadvisor.files.source import read_bytes, text_of
from normadvisor.suppress.comments import Code, Comments, Directive, find_comments
from normadvisor.types import Finding, Location, Suppression

__all__ = ["NoqaResult", "apply_noqa"]


@dataclass(frozen=True, slots=True)
class NoqaResult:
    """Findings, some of them suppressed now, and the comments that did nothing."""

    findings: tuple[Finding, ...]
    unused: tuple[Location, ...]
    """One per code that suppresses nothing, by file and line."""
    notes: tuple[str, ...]
    """Codes that look like ours and belong to no rule."""


def apply_noqa(
    findings: Sequence[Finding], *, ran: Collection[str], known: Collection[str], files: Iterable[str | Path] = (), root: Path | None = None
) -> NoqaResult:
    """Mark findings that a ``noqa`` comment silences as ``suppressed="noqa"``.

    A comment speaks for a finding when it stands on a line of the construct the finding points at, or on the first or last line of
    the statement around it. In ``nn.Sequential(...)`` over many lines, a comment beside one layer does not silence the others.

    Args:
        findings: suppressed ones stay as they are, but a comment that would silence them counts as used.
        ran: ids of the rules that ran. A code is called unused only if every rule it stands for did.
        known: ids of all rules there are.
        files: files that were checked completely: unused comments are looked for in these only.
        root: folder that relative paths are relative to; the working directory by default.

    """
    base = root or Path.cwd()
    lookup = cache(lambda path: _Commented.of(base / path))
    used: set[tuple[str, Code]] = set()
    marked = []
    for finding in findings:
        silenced = False
        for directive in lookup(finding.path).speaking(finding) if finding.path is not None else ():
            codes = directive.matching(finding.rule)
            silenced |= codes is None or bool(codes)
            used |= {(_absolute(str(finding.path), base), code) for code in codes or ()}
        marked.append(replace(finding, suppressed=Suppression.NOQA) if silenced and finding.suppressed is None else finding)
    unused: list[Location] = []
    notes: list[str] = []
    for path in sorted({_absolute(str(path), base) for path in files}):
        commented = lookup(path)
        for code in commented.codes():
            if not _ours(code, known):
                continue
            meant = [rule for rule in known if rule.startswith(code.text)]
            location = commented.located(Location(path, code.line, code.column, code.line, code.column + len(code.text)))
            if not meant:
                notes.append(_unknown(code, location, known))
            elif (path, code) not in used and all(rule in ran for rule in meant):
                unused.append(location)
    return NoqaResult(tuple(marked), tuple(unused), tuple(notes))


def _absolute(path: str, base: Path) -> str:
    return str(base / path)


@dataclass(frozen=True, slots=True)
class _Commented:
    """The comments of a file, and its cells if it is a notebook: there lines of findings count within a cell, lines of comments do not."""

    comments: Comments
    notebook: Notebook | None = None

    @classmethod
    def of(cls, path: Path) -> Self:
        try:
            data = read_bytes(path)
            if b"noqa" not in data and b"noqa" not in data.lower():
                return cls(_NONE)
            text, notebook = text_of(data, path)
        except (TargetError, ValueError):  # ValueError: a NUL in the path
            return cls(_NONE)
        return cls(find_comments(text), notebook)

    def located(self, location: Location) -> Location:
        return location if self.notebook is None else self.notebook.located(location)

    def codes(self) -> list[Code]:
        return [code for directive in self.comments.directives for code in directive.codes or ()]

    def speaking(self, finding: Finding) -> list[Directive]:
        """The directives that speak for the place of a finding, whatever their codes."""
        comments = self.comments
        line = self._line(finding.line, finding.cell)
        if line is None or not comments.directives:
            return [directive for directive in comments.directives if directive.whole_file]
        first, last = comments.statement(line)
        start, end = first, last
        end_line = self._line(finding.end_line, finding.cell)
        if end_line is not None:  # a span that reaches beyond its statement is that of a class: its header is what counts
            start, end = line, min(end_line, last)
        return [
            directive
            for directive in comments.directives
            if directive.whole_file or start <= directive.line <= end or directive.line in {first, last}
        ]

    def _line(self, line: int | None, cell: int | None) -> int | None:
        """A line of the whole text."""
        if line is None or cell is None or self.notebook is None:
            return line
        return self.notebook.line(cell, line)


_NONE = Comments((), ())


def _ours(code: Code, known: Collection[str]) -> bool:
    """Whether a code has the letters that ids of our rules begin with."""
    letters = re.match("[A-Z]*", code.text)
    return letters is not None and letters.group() in {prefix.group() for rule in known if (prefix := re.match("[A-Z]+", rule))}


def _unknown(code: Code, location: Location, known: Collection[str]) -> str:
    nearest = closest(code.text, known)
    hint = f" (did you mean {nearest}?)" if nearest else ""
    return f"{location}: noqa names {code.text}, which is no rule{hint}"
