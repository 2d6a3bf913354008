"""Edits of notebooks: made in the text of all cells together, as those of files are, and told by cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from normadvisor.files.notebook import Notebook
from normadvisor.script.events import Event
from normadvisor.script.project.modules import SourceModule
from normadvisor.types import Edit, Location

__all__ = ["as_one_file", "in_cells"]


def as_one_file(event: Event, module: SourceModule, notebook: Notebook) -> tuple[Event, SourceModule] | None:
    """An event and its notebook as those of a file that holds the cells one after another; ``None`` where a place is in no cell."""

    def place(location: Location) -> Location:
        line = notebook.line(location.cell, location.line) if location.cell is not None else None
        if line is None:
            raise LookupError
        end = None if location.end_line is None else line + location.end_line - location.line
        return replace(location, line=line, end_line=end, cell=None)

    def own(location: Location) -> bool:
        return location.path == module.path

    def attribute(value: Any) -> Any:
        places = isinstance(value, tuple | list) and any(isinstance(item, Location) for item in value)
        return [place(item) if own(item) else item for item in value] if places else value

    try:
        moved = replace(
            event,
            location=place(event.location),
            statement=None if event.statement is None else place(event.statement),
            places={name: (place(found) if own(found) else found, words) for name, (found, words) in event.places.items()},
            attributes={name: attribute(value) for name, value in event.attributes.items()},
        )
    except LookupError:
        return None
    return moved, replace(module, cells=None, is_notebook=False)


def in_cells(edits: Iterable[Edit], module: SourceModule, notebook: Notebook) -> tuple[Edit, ...]:
    """Edits of all cells together as edits of cells; none where one leaves its cell, or changes a line that is no Python there."""
    found = [_in_cell(edit, module, notebook) for edit in edits]
    edits = tuple(edit for edit in found if edit is not None)
    return edits if len(edits) == len(found) else ()


def _in_cell(edit: Edit, module: SourceModule, notebook: Notebook) -> Edit | None:
    cell, line = notebook.place(edit.line)
    source = notebook.source(cell)
    end = line + edit.end_line - edit.line
    read = module.lines[edit.line - line : edit.line - line + len(source)]
    if end == len(source) + 1 and edit.end_column == 1 and edit.column == 1 and not edit.text:
        # The last lines of a cell, which no line follows, go with the end of the line before them.
        if line == 1:
            return None
        line, end, edit = line - 1, end - 1, replace(edit, column=len(source[line - 2]) + 1, end_column=len(source[end - 2]) + 1)
    if notebook.line(cell, line) is None or end > len(source) or tuple(read[line - 1 : end]) != source[line - 1 : end]:
        return None
    return replace(edit, line=line, end_line=end, cell=cell)
