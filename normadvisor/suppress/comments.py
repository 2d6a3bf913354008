"""Find ``noqa`` comments in Python source.

On a line of a statement::

    self.conv = nn.Conv2d(3, 64, 3)  # noqa: NA102 - the bias is folded later
    self.norm = nn.BatchNorm2d(64)   # noqa: E501, NA201, NA3

and for a whole file, on a line of its own::

    # normadvisor: noqa: NA102

Codes are ids of rules or the beginnings of ids. Codes of other tools may stand beside ours.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Code", "Comments", "Directive", "find_comments"]

_MARK = re.compile(r"#\s*(?P<own>normadvisor\s*:\s*)?noqa(?!\w)(?:\s*(?P<colon>:)\s*)?", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z]+[0-9][A-Za-z0-9]*|[A-Z]{2,}(?![\w])")
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_SKIPPED = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER})


@dataclass(frozen=True, slots=True)
class Code:
    """A code as written, in capitals, and where."""

    text: str
    line: int
    column: int
    """1-based, in code points."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One ``noqa``."""

    line: int
    """1-based physical line."""
    codes: tuple[Code, ...] | None
    """``None``: all rules."""
    whole_file: bool

    def matching(self, rule: str) -> list[Code] | None:
        """The codes that silence ``rule``, ``None`` for all rules at once."""
        return None if self.codes is None else [code for code in self.codes if rule.startswith(code.text)]


@dataclass(frozen=True, slots=True)
class Comments:
    """The directives of a file and the physical lines of its statements."""

    directives: tuple[Directive, ...]
    statements: tuple[tuple[int, int], ...]
    """First and last physical line (1-based, inclusive) of every logical line that has several, in order."""

    def statement(self, line: int) -> tuple[int, int]:
        """First and last line of the statement that ``line`` belongs to."""
        return next(((first, last) for first, last in self.statements if first <= line <= last), (line, line))


def find_comments(text: str) -> Comments:
    """Directives in ``text``; what comes after a place that does not tokenize is not searched."""
    if "noqa" not in text.lower():
        return Comments((), ())
    directives: list[Directive] = []
    statements: list[tuple[int, int]] = []
    first: int | None = None
    for token in _tokens(text):
        if token.type == tokenize.COMMENT:
            own_line = not token.line[: token.start[1]].strip() and first is None
            directives += _directives(token, own_line=own_line)
        elif token.type == tokenize.NEWLINE:
            if first is not None and token.start[0] > first:
                statements.append((first, token.start[0]))
            first = None
        elif token.type not in _SKIPPED and first is None:
            first = token.start[0]
    return Comments(tuple(directives), tuple(statements))


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError, ValueError):
        return


def _directives(token: tokenize.TokenInfo, *, own_line: bool) -> Iterator[Directive]:
    line, start = token.start
    for mark in _MARK.finditer(token.string):
        whole_file = bool(mark["own"]) and own_line
        if not mark["colon"]:
            yield Directive(line, None, whole_file)
            continue
        codes = tuple(Code(text.upper(), line, start + offset + 1) for text, offset in _codes(token.string, mark.end()))
        if codes:  # "noqa: because" names nothing, and silencing everything is not what it says
            yield Directive(line, codes, whole_file)


def _codes(comment: str, position: int) -> Iterator[tuple[str, int]]:
    while code := _CODE.match(comment, position):
        yield code.group(), code.start()
        separator = _SEPARATOR.match(comment, code.end())
        if separator is None:
            return
        position = separator.end()
