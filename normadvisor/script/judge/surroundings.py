"""The source text around events: statements, functions and loops."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from normadvisor.errors import TargetError
from normadvisor.script.library.syntax import enclosing_statements

if TYPE_CHECKING:
    import re

    from normadvisor.script.project.modules import Project, SourceModule
    from normadvisor.types import Location

__all__ = ["FUNCTIONS", "LOOPS", "Surroundings", "holds"]

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
"""Statements that define a function."""
LOOPS = ast.For | ast.AsyncFor | ast.While
"""Statements that repeat others."""
_Answer = TypeVar("_Answer")
_Spot: TypeAlias = "tuple[str, int | None, int, int]"


def holds(outer: Location, inner: Location) -> bool:
    """Whether a span holds another one."""
    return (
        (outer.path, outer.cell) == (inner.path, inner.cell)
        and (outer.line, outer.column) <= (inner.line, inner.column)
        and (inner.end_line or inner.line, inner.end_column or 0) <= (outer.end_line or outer.line, outer.end_column or 0)
    )


class Surroundings:
    """Looks at the files of a project; each place is looked up once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._modules: dict[str, SourceModule | None] = {}
        self._statements: dict[_Spot, list[ast.stmt]] = {}
        self._known: dict[tuple[int, str], tuple[object, Any]] = {}
        """Answers by what is asked about, which is kept so that nothing else gets its identity."""

    def module(self, location: Location) -> SourceModule | None:
        """The file a place stands in; ``None`` if it cannot be read."""
        path = location.path
        if path not in self._modules:
            try:
                self._modules[path] = self._project.load(Path(path))
            except TargetError:
                self._modules[path] = None
        return self._modules[path]

    def statements(self, location: Location) -> list[ast.stmt]:
        """Statements around a place, outermost first."""
        spot = (location.path, location.cell, location.line, location.column)
        if spot not in self._statements:
            module = self.module(location)
            self._statements[spot] = enclosing_statements(module, location) if module is not None else []
        return self._statements[spot]

    def function(self, location: Location) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around a place; ``None`` at the top level of a file."""
        return next((item for item in reversed(self.statements(location)) if isinstance(item, FUNCTIONS)), None)

    def loop(self, location: Location) -> ast.For | ast.AsyncFor | ast.While | None:
        """The innermost loop around a place, within the function around it."""
        for item in reversed(self.statements(location)):
            if isinstance(item, LOOPS):
                return item
            if isinstance(item, FUNCTIONS | ast.ClassDef):
                return None
        return None

    def span(self, node: ast.AST, location: Location) -> Location | None:
        """Where a node of the file stands that a place is in."""
        module = self.module(location)
        return module.location(node) if module is not None else None

    def known(self, about: object, question: str, answer: Callable[[], _Answer]) -> _Answer:
        """The answer to a question about a node or a file, found once: many events may stand in one function.

        Args:
            about: what is asked about.
            question: what tells questions about it apart.
            answer: finds the answer.

        """
        key = (id(about), question)
        if key not in self._known:
            self._known[key] = about, answer()
        found: _Answer = self._known[key][1]
        return found

    def mentions(self, location: Location, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern is found in the text of the function around a place, or of the outermost statement at the top level."""
        statements, module = self.statements(location), self.module(location)
        node = self.function(location) or (statements[0] if statements else None)
        if node is None or module is None:
            return False
        return self.known(node, pattern.pattern, lambda: pattern.search(module.segment(node)) is not None)
