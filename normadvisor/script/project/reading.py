"""Read a file of the project: text, syntax tree and where each of its lines stands."""

from __future__ import annotations

import ast
from pathlib import Path

from normadvisor.files.notebook import Notebook
from normadvisor.files.source import read_source
from normadvisor.types.location import Location

__all__ = ["Cells", "read_tree"]


class Cells:
    """Where the lines of a file stand; in a notebook, in which cell."""

    def __init__(self, path: str, notebook: Notebook | None = None) -> None:
        self._path = path
        self.notebook = notebook

    def location(self, line: int, column: int, end_line: int, end_column: int) -> Location:
        """The place of a span that was found in the text."""
        location = Location(self._path, line, column, end_line, end_column)
        return location if self.notebook is None else self.notebook.located(location)


def read_tree(path: Path) -> tuple[str, ast.Module, Cells]:
    """Text and syntax tree of a file.

    Raises:
        TargetError: the file cannot be read or is not valid Python.

    """
    source = read_source(path)
    return source.text, source.tree, Cells(str(path), source.notebook)
