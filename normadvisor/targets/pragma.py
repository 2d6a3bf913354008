"""Run context said in comments: ``# normadvisor: batch_size=2 task=detection``.

A comment on the line of a class, function or variable, or directly above it (above its decorators), is for that definition. A
comment before the first statement of the file that is not directly above a definition is for the whole file.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tokenize
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normadvisor.config import parse_context
from normadvisor.errors import ConfigError, TargetError
from normadvisor.targets.names import top_level
from normadvisor.types import Location, RunContext

if TYPE_CHECKING:
    from normadvisor.files.source import Source

__all__ = ["Pragmas", "read_pragmas"]

_PRAGMA = re.compile(r"#\s*normadvisor\s*:\s*+(?!noqa(?!\w))(.*)", re.IGNORECASE)
"""What silences rules in a whole file begins the same, and is read elsewhere."""


@dataclass(slots=True)
class Pragmas:
    """Contexts of a file: for all of it, and by the name of the definition."""

    file: RunContext = field(default_factory=RunContext)
    named: dict[str, RunContext] = field(default_factory=dict)

    def context_of(self, name: str) -> RunContext:
        """What the file says about one definition: its own comment over the file's."""
        return self.file.merged(self.named.get(name, RunContext()))


def read_pragmas(source: Source) -> Pragmas:
    """Read the comments of a file.

    Raises:
        TargetError: a comment holds something other than known keys with values, or stands beside nothing.

    """
    pragmas = Pragmas()
    if "normadvisor" not in source.text.lower():
        return pragmas
    owners = _owners(source)
    first = min((node.lineno for node in source.tree.body if not _is_docstring(node)), default=1 << 30)
    for line, column, text in _comments(source):
        location = Location(str(source.path), line, column)
        context = _context(text, location)
        name = owners.get(line)
        if name:
            pragmas.named[name] = pragmas.named.get(name, RunContext()).merged(context)
        elif line < first:
            pragmas.file = pragmas.file.merged(context)
        else:
            hint = "put it on the line of the class or function, directly above it, or at the top of the file"
            raise TargetError("this comment stands beside no class, function or variable", location=location, hint=hint)
    return pragmas


def _comments(source: Source) -> list[tuple[int, int, str]]:
    """Line, column and text (behind the colon) of every such comment."""
    found: list[tuple[int, int, str]] = []
    # The file parsed; what the tokenizer alone rejects (a form feed in an indent) ends the search, and no more.
    with contextlib.suppress(tokenize.TokenError, SyntaxError, ValueError):
        found.extend(
            (token.start[0], token.start[1] + 1, match[1])
            for token in tokenize.generate_tokens(io.StringIO(source.text).readline)
            if token.type == tokenize.COMMENT and (match := _PRAGMA.match(token.string))
        )
    return found


def _context(text: str, location: Location) -> RunContext:
    mapping: dict[str, str] = {}
    for word in re.split(r"[\s,]+", text.partition("#")[0].strip()):
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise TargetError(f"{word!r} is not key=value", location=location, hint="write: # normadvisor: batch_size=2 task=detection")
        if key in mapping:
            raise TargetError(f"{key!r} is given twice", location=location)
        mapping[key] = value
    try:
        return parse_context(mapping, location)
    except ConfigError as error:
        raise TargetError(error.message, location=error.location or location, hint=error.hint) from error


def _owners(source: Source) -> dict[int, str]:
    """Lines that belong to a definition: its header, and the comment lines directly above."""
    lines = source.text.split("\n")
    owners: dict[int, str] = {}
    for node in top_level(source.tree):
        name = _name(node)
        if not name:
            continue
        decorators = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
        start = min([node.lineno, *decorators])
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            end = max(node.lineno, node.body[0].lineno - 1) if node.body[0].lineno > node.lineno else node.lineno
        else:
            end = node.end_lineno or node.lineno
        owners.update(dict.fromkeys(range(start, end + 1), name))
        above = start - 1
        while above >= 1 and lines[above - 1].lstrip().startswith("#"):
            owners.setdefault(above, name)
            above -= 1
    return owners


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
