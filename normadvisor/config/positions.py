"""Where each key and value of a TOML document stands.

``tomllib`` gives values without places. This module walks a document that ``tomllib`` has accepted and records the position of
every key, so that an error can name file, line and column. Knowing that the text is valid keeps it small.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress
from typing import TypeAlias

__all__ = ["KeyPath", "key_positions"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document, e.g. ``("tool", "normadvisor", "models", 0, "target")``."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Longest first. A string of three quotes may end in up to two more that belong to it.
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_positions(text: str) -> dict[KeyPath, tuple[int, int]]:
    """Line and column (1-based, in code points) of every key, table header and list element of a valid TOML document.

    A table written by several headers is placed at the first; an element of an array of tables at its own ``[[header]]``. For text
    that is no TOML the result is whatever was understood before the first mistake.
    """
    walker = _Walker(text)
    # Half a map is better than none: the caller falls back to the enclosing table.
    with suppress(_LostError, RecursionError):
        walker.document()
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    places = {}
    for path, offset in walker.offsets.items():
        line = bisect_right(lines, offset)
        places[path] = (line, offset - lines[line - 1] + 1)
    return places


class _LostError(Exception):
    """The text is not what a valid document would have here."""


class _Walker:
    """A cursor over the text and the offsets found so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.offsets: dict[KeyPath, int] = {}
        self.lengths: dict[KeyPath, int] = {}
        """How many elements each array of tables has so far."""

    def document(self) -> None:
        """Walk all statements."""
        table: KeyPath = ()
        while self.skip(_BLANK) < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.assignment(table)

    def header(self) -> KeyPath:
        """``[a.b]`` or ``[[a.b]]``: the path of the table it opens."""
        repeated = self.text.startswith("[[", self.at)
        self.at += 2 if repeated else 1
        keys = self.dotted_key()
        self.expect("]]" if repeated else "]")
        path: KeyPath = ()
        for position, (key, offset) in enumerate(keys):
            path = (*path, key)
            self.offsets.setdefault(path, offset)
            last = position == len(keys) - 1
            if repeated and last:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self.offsets.setdefault(path, offset)
        return path

    def assignment(self, table: KeyPath) -> None:
        """``a.b = value``."""
        path = table
        for key, offset in self.dotted_key():
            path = (*path, key)
            self.offsets.setdefault(path, offset)
        self.expect("=")
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        """Skip a value, recording what lies in it."""
        opening = self.text[self.at : self.at + 1]
        if opening in {'"', "'"}:
            self.at = self.match(_STRING).end()
        elif opening == "[":
            self.items("]", path)
        elif opening == "{":
            self.items("}", path)
        else:
            self.at = self.match(_SCALAR).end()

    def items(self, closing: str, path: KeyPath) -> None:
        """The elements of a list, or the assignments of an inline table."""
        self.at += 1
        index = 0
        while True:
            self.skip(_BLANK)
            if self.text.startswith(closing, self.at):
                self.at += 1
                return
            if closing == "]":
                self.offsets.setdefault((*path, index), self.at)
                self.value((*path, index))
            else:
                self.assignment(path)
            index += 1
            self.skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
            elif not self.text.startswith(closing, self.at):
                raise _LostError

    def dotted_key(self) -> list[tuple[str, int]]:
        """Each part of a key with its offset."""
        parts = []
        while True:
            self.skip(_SPACE)
            start = self.at
            if self.text[start : start + 1] in {'"', "'"}:
                self.at = self.match(_STRING).end()
                parts.append((_unquoted(self.text[start : self.at]), start))
            else:
                self.at = self.match(_BARE_KEY).end()
                parts.append((self.text[start : self.at], start))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The match at the cursor."""
        found = pattern.match(self.text, self.at)
        if found is None:
            raise _LostError
        return found

    def skip(self, pattern: re.Pattern[str]) -> int:
        """Move over what ``pattern`` (which matches nothing too) finds; the new offset."""
        self.at = self.match(pattern).end()
        return self.at

    def expect(self, token: str) -> None:
        """Move over ``token``."""
        self.skip(_SPACE)
        if not self.text.startswith(token, self.at):
            raise _LostError
        self.at += len(token)


def _unquoted(text: str) -> str:
    """The value of a quoted key."""
    try:
        value: str = tomllib.loads(f"key = {text}")["key"]
    except tomllib.TOMLDecodeError:
        raise _LostError from None
    return value
