"""Imports that nothing needs any more after an edit."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.script.anchors import applied, removed
from normadvisor.types import Edit

if TYPE_CHECKING:
    from normadvisor.script.project.modules import SourceModule

__all__ = ["unused_imports"]


def unused_imports(module: SourceModule, edits: Iterable[Edit]) -> list[Edit]:
    """Take out what a file imports for the sake of the text alone that edits take out.

    A name that is still written anywhere in the file, a comment included, stays; so does one that a file beside it may import from it.

    Args:
        module: the file.
        edits: of this file; they do not overlap.

    """
    made = tuple(edits)
    if module.is_notebook or module.is_package or module.exported is not None or not made:
        return []
    text = applied(module.text, made)
    found: list[Edit] = []
    imports = [statement for statement in module.tree.body if isinstance(statement, ast.Import | ast.ImportFrom)]
    if any(_touches(edit, statement) for edit in made for statement in imports):
        return []
    imported = "\n".join(map(module.segment, imports))
    for statement in imports:
        gone = [alias for alias in statement.names if _lost(_local(alias), module.text, text, imported)]
        if gone and not any(_imported_elsewhere(module, _local(alias)) for alias in gone):
            found += _without(module, statement, gone)
    return found


def _local(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _touches(edit: Edit, statement: ast.stmt) -> bool:
    return edit.line <= (statement.end_lineno or statement.lineno) and statement.lineno <= edit.end_line


def _lost(name: str, before: str, after: str, imported: str) -> bool:
    """Whether only imports still write a name, which was written elsewhere before."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    left = len(word.findall(imported))
    return name != "*" and len(word.findall(after)) == left < len(word.findall(before))


def _imported_elsewhere(module: SourceModule, name: str) -> bool:
    """Whether a file beside this one, or in the folder above, imports the name from it, or all its names."""
    path = Path(module.file or module.path)
    pattern = re.compile(rf"from\s+[\w.]*\b{re.escape(path.stem)}\s+import\s+(?:\*|[^\n]*\b{re.escape(name)}\b|\()")
    return any(pattern.search(text) for text in _texts(path))


def _texts(path: Path) -> Iterator[str]:
    for folder in (path.parent, path.parent.parent):
        for other in folder.glob("*.py"):
            try:
                yield other.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue


def _without(module: SourceModule, statement: ast.Import | ast.ImportFrom, gone: list[ast.alias]) -> list[Edit]:
    """A statement without some of its names; nothing where a comment would be lost, or where it shares its line."""
    if len(gone) == len(statement.names):
        edit = removed(module, statement)
        return [edit] if edit is not None else []
    if "#" in module.segment(statement) or len(gone) > 1:
        return []
    index = statement.names.index(gone[0])
    is_last = index + 1 == len(statement.names)
    here = module.location(gone[0])
    beside = module.location(statement.names[index - 1 if is_last else index + 1])
    if is_last:
        start = beside.end_line or beside.line, beside.end_column or beside.column
        return [Edit(module.path, *start, here.end_line or here.line, here.end_column or here.column, "")]
    return [Edit(module.path, here.line, here.column, beside.line, beside.column, "")]
