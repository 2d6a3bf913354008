"""Read a Jupyter notebook as one Python text, with a table that says which cell every line comes from.

Cells are numbered by their position in the notebook, the first is 1, and text cells count: cell 3 is the third box on the page. Lines that
are not Python but commands of IPython are replaced so that lines and columns of everything else stay where they are.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normadvisor.errors import TargetError
from normadvisor.files.magics import as_python
from normadvisor.types import Location

__all__ = ["SUFFIX", "Cell", "ForeignNotebookError", "Notebook", "is_notebook", "notebook_in"]

SUFFIX = ".ipynb"
_PYTHON = frozenset({"python", "python2", "python3", "ipython", "ipython3", "sage", "xpython", "pyspark"})
"""Languages whose cells are Python."""


class ForeignNotebookError(TargetError):
    """A notebook in another language than Python: nothing is wrong with it, and there is nothing in it for us."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell and the lines it takes up in the text."""

    number: int
    """Position in the notebook, 1-based, text cells counted."""
    first: int
    """Its first line in the text, 1-based."""
    source: tuple[str, ...]
    """Lines as they stand in the notebook."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """The code cells of a notebook, in order."""

    text: str
    """One Python text: every cell's lines as Python, an empty line behind each cell."""
    cells: tuple[Cell, ...]

    def place(self, line: int) -> tuple[int, int]:
        """Cell number and line in the cell (both 1-based) of a line of the text; a line between two cells belongs to the first."""
        if not self.cells:
            return 1, 1
        cell = self.cells[max(0, bisect_right(self.cells, line, key=lambda cell: cell.first) - 1)]
        return cell.number, min(max(1, line - cell.first + 1), max(1, len(cell.source)))

    def line(self, cell: int, line: int) -> int | None:
        """The line of the text at a line of a cell; ``None`` where there is no such line."""
        found = self._numbered(cell)
        return found.first + line - 1 if found is not None and 1 <= line <= len(found.source) else None

    def source(self, cell: int) -> tuple[str, ...]:
        """Lines of a cell as they stand in the notebook; none where there is no such cell."""
        found = self._numbered(cell)
        return found.source if found is not None else ()

    def located(self, location: Location) -> Location:
        """A span of the text as a span of the cell it begins in."""
        cell, line = self.place(location.line)
        end_line = location.end_line
        if end_line is not None:
            ends_in, end_line = self.place(end_line)
            if ends_in != cell:
                return Location(location.path, line, location.column, cell=cell)
        return Location(location.path, line, location.column, end_line, location.end_column, cell)

    def _numbered(self, number: int) -> Cell | None:
        index = bisect_right(self.cells, number, key=lambda cell: cell.number) - 1
        return self.cells[index] if index >= 0 and self.cells[index].number == number else None


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook, by its name."""
    return path.suffix == SUFFIX


def notebook_in(text: str, path: Path) -> Notebook:
    """The notebook that a JSON text describes, in the format 4 or one of those before.

    Args:
        text: contents of the file.
        path: the file, for errors.

    Raises:
        TargetError: it is no JSON, or no notebook.
        ForeignNotebookError: its cells are in another language than Python.

    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = Location(str(path), error.lineno, error.colno)
        raise TargetError(f"not a notebook: the file is not valid JSON: {error.msg}", location=place, hint=_hint(text)) from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number too long to read
        raise TargetError("not a notebook: the file is not valid JSON", location=Location(str(path), 1)) from error
    raw = _raw_cells(data, path)
    _check_language(data, path)
    cells: list[Cell] = []
    lines: list[str] = []
    for number, entry in enumerate(raw, 1):
        source = _source(entry)
        if source is None:
            continue
        code = as_python(source)
        if code and code[0][:1].isspace() and code[0].strip() and all(line[:1].isspace() or not line for line in code):
            # IPython takes off the indentation of a whole cell; a header on the line before keeps the columns.
            if lines:
                lines[-1] = "if True:"
            else:
                lines.append("if True:")
        cells.append(Cell(number, len(lines) + 1, tuple(source)))
        lines += [*code, ""]
    return Notebook("\n".join(lines), tuple(cells))


def _hint(text: str) -> str | None:
    if text.lstrip().startswith("version https://git-lfs"):
        return "it is a pointer of Git LFS: fetch the file itself with 'git lfs pull'"
    if "<<<<<<<" in text and ">>>>>>>" in text:
        return "it holds conflict markers of a merge"
    return None


def _raw_cells(data: Any, path: Path) -> list[Any]:
    """The cells of a notebook of any format, text cells included."""
    start = Location(str(path), 1)
    if not isinstance(data, dict):
        raise TargetError("not a notebook: the file holds no JSON object", location=start)
    if isinstance(data.get("cells"), list):
        return list(data["cells"])
    sheets = data.get("worksheets")
    if isinstance(sheets, list):
        return [cell for sheet in sheets if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list) for cell in sheet["cells"]]
    if sheets is None and "cells" not in data:
        raise TargetError("not a notebook: there are no 'cells' in it", location=start)
    raise TargetError("not a notebook: 'cells' must be a list", location=start)


def _check_language(data: dict[str, Any], path: Path) -> None:
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        return
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        table = metadata.get(key)
        language = table.get(name) if isinstance(table, dict) else None
        if isinstance(language, str) and language:
            if language.lower() in _PYTHON:
                return
            shown = "".join(letter if letter.isprintable() else "?" for letter in language[:40])
            message = f"the cells of this notebook are in {shown}, not in Python"
            raise ForeignNotebookError(message, location=Location(str(path), 1))


def _source(entry: Any) -> list[str] | None:
    """Lines of a code cell; ``None`` for any other cell."""
    if not isinstance(entry, dict) or entry.get("cell_type") != "code":
        return None
    source = entry.get("source", entry.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str) or _in_other_language(entry):
        return None
    # A NUL and lone surrogates are valid in JSON and not in Python source.
    source = source.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _in_other_language(entry: dict[str, Any]) -> bool:
    """Whether a cell says that it is not in the notebook's language, as formats before 4 and some editors do."""
    metadata = entry.get("metadata")
    editor = metadata.get("vscode") if isinstance(metadata, dict) else None
    for language in (entry.get("language"), editor.get("languageId") if isinstance(editor, dict) else None):
        if isinstance(language, str) and language and language.lower() not in _PYTHON:
            return True
    return False
