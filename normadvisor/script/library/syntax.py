"""Questions to the source text around a place: how a call is written, and which statements enclose it."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.script.values import Place
from normadvisor.types import Location

if TYPE_CHECKING:
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.script.protocol import Machine

__all__ = ["argument", "called_as", "enclosing_statements", "module_of", "parsed", "receiver_text", "written_call"]


@lru_cache(maxsize=2048)
def parsed(text: str) -> ast.expr | None:
    """An expression, as a tree; ``None`` if the text is none."""
    try:
        return ast.parse(f"({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def written_call(place: Place) -> ast.Call | None:
    """The call at a place, as it is written."""
    tree = parsed(place.text)
    if isinstance(tree, ast.Await):
        tree = tree.value
    return tree if isinstance(tree, ast.Call) else None


def called_as(place: Place) -> str:
    """What is called at a place, as written: ``F.dropout``."""
    call = written_call(place)
    return ast.unparse(call.func) if call is not None else place.text.partition("(")[0].strip()


def receiver_text(place: Place) -> str:
    """What a method is called on, as written: ``self.optimizer`` of ``self.optimizer.step()``."""
    call = written_call(place)
    if call is not None and isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value)
    return ""


def argument(call: ast.Call | None, position: int, name: str) -> ast.expr | None:
    """An argument of a call, as it is written."""
    if call is None:
        return None
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    plain = call.args[: position + 1]
    if len(plain) > position and not any(isinstance(item, ast.Starred) for item in plain):
        return plain[position]
    return None


def module_of(machine: Machine, place: Place) -> SourceModule | None:
    """The module that a place is in."""
    function = machine.enclosing()
    if function is not None and function.module.path == place.location.path:
        return function.module
    try:
        return machine.project.load(Path(place.location.path))
    except Exception:  # noqa: BLE001 - a file that vanished or changed has no statements to show
        return None


def _blocks(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list):
            yield block
    for name in ("handlers", "cases"):
        for part in getattr(statement, name, ()):
            yield part.body


def _spans(location: Location, inner: Location) -> bool:
    end = (location.end_line or location.line, location.end_column or 0)
    return (location.line, location.column) <= (inner.line, inner.column) and (
        (inner.end_line or inner.line, inner.end_column or inner.column) <= end
    )


def enclosing_statements(module: SourceModule, location: Location) -> list[ast.stmt]:
    """Statements around a place, outermost first."""
    found: list[ast.stmt] = []
    blocks = [module.tree.body]
    while True:
        inner = next((item for block in blocks for item in _candidates(block, module, location) if _near(item, module, location)), None)
        if inner is None:
            return found
        found.append(inner)
        blocks = list(_blocks(inner))


def _candidates(block: list[ast.stmt], module: SourceModule, location: Location) -> list[ast.stmt]:
    """Statements of a block that may span a place: those that begin on its line, and the last before it."""
    if module.is_notebook or len(block) < 4:
        return block  # lines of a notebook are counted by cell
    end = bisect_right(block, location.line, key=_line)
    start = bisect_left(block, location.line, hi=end, key=_line)
    return block[max(start - 1, 0) : end]


def _line(statement: ast.stmt) -> int:
    return statement.lineno


def _near(statement: ast.stmt, module: SourceModule, location: Location) -> bool:
    own = module.location(statement)
    return own.path == location.path and getattr(own, "cell", None) == getattr(location, "cell", None) and _spans(own, location)
