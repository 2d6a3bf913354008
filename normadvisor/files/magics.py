"""Cells of IPython as Python: commands for the shell and the kernel are replaced, line by line and column by column.

``%time model(x)`` runs Python and stays visible as such; ``!pip install torch`` and ``%%bash`` run something else and become nothing.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence

__all__ = ["as_python"]

_KEPT = frozenset({"capture", "debug", "ipytest", "memit", "prun", "snakeviz", "time", "timeit"})
"""Cell magics that run the rest of the cell as Python, in the kernel itself."""
_HINT = re.compile(r"(?m)^\s*[%!?,;/]|\?\s*(?:#.*)?$|=\s*[%!]")
"""What a cell holds somewhere if it holds a command at all."""
_TIMING = re.compile(r"%(?:time|timeit|memit|prun)\b(?:[ \t]+-[A-Za-z]+[ \t]*\d*)*[ \t]+(?=\S)")
_ASSIGNED = re.compile(r"(?P<target>[A-Za-z_][\w.,\s\[\]'\"]*?=)\s*(?P<command>(?:%[A-Za-z_]|!)[^=].*)$")
_HELP = re.compile(r"\s*%{0,2}[\w.*]+(?:\[[^\]]*\])?\?{1,2}\s*(?:#.*)?$")
_STRINGS = re.compile(r"'''|\"\"\"|'|\"")
_PLAIN = re.compile(r"[^'\"#()\[\]{}\\]+")


def as_python(source: Sequence[str]) -> list[str]:
    """Lines of a cell with everything that is not Python replaced; as many lines, and Python stays in its columns."""
    lines = list(source)
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is not None and lines[first].startswith("%%"):
        name = re.match(r"%%(\w*)", lines[first])
        if name is None or name[1] not in _KEPT:
            return [""] * len(lines)
        lines[first] = ""
    text = "\n".join(lines)
    if not _HINT.search(text) or _parses(text):
        return lines
    return _replaced(lines)


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _replaced(lines: list[str]) -> list[str]:
    scanner = _Scanner()
    done: list[str] = []
    in_command = False
    for line in lines:
        if in_command:  # a command goes on after a backslash
            done.append("")
            in_command = line.endswith("\\")
            continue
        python = _line_as_python(line) if scanner.at_start else None
        in_command = python is not None and line.endswith("\\")
        done.append(line if python is None else python)
        scanner.feed(done[-1])
    return done


def _line_as_python(line: str) -> str | None:
    """A line at the beginning of a statement as Python; ``None`` if it is no command."""
    stripped = line.lstrip()
    indent = line[: len(line) - len(stripped)]
    if stripped.startswith("%"):
        timing = _TIMING.match(stripped)
        if timing and _parses(stripped[timing.end() :]):
            return f"{indent}{'if 1:':<{timing.end()}}{stripped[timing.end() :]}"
        return f"{indent}pass"
    if stripped.startswith(("!", "?", ",", ";", "/")):
        return f"{indent}pass"
    if _HELP.match(stripped):
        return f"{indent}pass"
    assigned = _ASSIGNED.match(stripped)
    if assigned and not _parses(stripped):
        # The result of a command is a value nobody knows.
        return f"{indent}{assigned['target']} get_ipython()"
    return None


class _Scanner:
    """Follows strings and brackets from line to line, to know where a statement begins."""

    def __init__(self) -> None:
        self._quote = ""
        self._depth = 0
        self._continued = False

    @property
    def at_start(self) -> bool:
        """Whether the next line begins a statement."""
        return not self._quote and self._depth == 0 and not self._continued

    def feed(self, line: str) -> None:
        """Take in one line."""
        position = 0
        self._continued = False
        while position < len(line):
            if self._quote:
                position = self._in_string(line, position)
                continue
            plain = _PLAIN.match(line, position)
            if plain:
                position = plain.end()
                continue
            char = line[position]
            if char == "#":
                return
            if char == "\\" and position == len(line) - 1:
                self._continued = True
            opening = _STRINGS.match(line, position)
            if opening:
                self._quote = opening.group()
                position = opening.end()
                continue
            self._depth = max(0, self._depth + (char in "([{") - (char in ")]}"))
            position += 1
        if len(self._quote) == 1 and not line.endswith("\\"):  # an unfinished string ends with its line
            self._quote = ""

    def _in_string(self, line: str, position: int) -> int:
        """Position behind the string, or the end of the line."""
        while position < len(line):
            if line[position] == "\\":
                position += 2
            elif line.startswith(self._quote, position):
                position += len(self._quote)
                self._quote = ""
                return position
            else:
                position += 1
        return position
