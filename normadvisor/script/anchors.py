"""Where in a file an edit can go: statements around a place, insertions before and after them, arguments of a call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from normadvisor.script.library.syntax import enclosing_statements
from normadvisor.types import Edit, Location

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule

__all__ = [
    "FUNCTIONS", "LOOPS", "added_keyword", "after", "applied", "around", "before", "calls_named", "expression_at", "imported_as",
    "known_names", "place_in", "removed", "replaced", "root_name",
]  # fmt: skip

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = ast.For | ast.While | ast.AsyncFor


def around(module: SourceModule, location: Location) -> list[ast.stmt]:
    """Statements around a place within its function, outermost first; the function itself stands first if there is one."""
    found = enclosing_statements(module, location)
    start = max((index for index, item in enumerate(found) if isinstance(item, FUNCTIONS)), default=0)
    return found[start:]


def place_in(event: Event, module: SourceModule, name: str) -> Location | None:
    """A further place of an event, if it is in the same file."""
    found = event.places.get(name)
    return found[0] if found is not None and found[0].path == module.path else None


def expression_at(module: SourceModule, location: Location) -> ast.expr | None:
    """The outermost expression that spans exactly a place."""
    statements = enclosing_statements(module, location)
    if not statements:
        return None
    for node in ast.walk(statements[-1]):
        if isinstance(node, ast.expr) and module.location(node) == location:
            return node
    return None


def _line(module: SourceModule, number: int) -> str:
    return module.lines[number - 1].rstrip("\r")


def _newline(module: SourceModule) -> str:
    return "\r\n" if any(line.endswith("\r") for line in module.lines[:2]) else "\n"


def before(module: SourceModule, statement: ast.stmt, text: str) -> Edit | None:
    """Lines put before a statement, in its indentation; ``None`` if it shares its line with others."""
    line = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", []))])
    found = _line(module, line)
    indentation = found[: len(found) - len(found.lstrip())]
    column = module.location(statement).column
    if line == statement.lineno and len(indentation) != column - 1:
        return None
    ending = _newline(module)
    inserted = "".join(f"{indentation}{part}{ending}" for part in text.split("\n"))
    return Edit(module.path, line, 1, line, 1, inserted)


def after(module: SourceModule, statement: ast.stmt, text: str) -> Edit | None:
    """Lines put after a statement, in its indentation; ``None`` if it shares a line with others."""
    first, last = _line(module, statement.lineno), _line(module, statement.end_lineno or statement.lineno)
    indentation = first[: len(first) - len(first.lstrip())]
    place = module.location(statement)
    rest = last[(place.end_column or 1) - 1 :].strip()
    if len(indentation) != place.column - 1 or (rest and not rest.startswith("#")):
        return None
    line, column = statement.end_lineno or statement.lineno, len(last) + 1
    inserted = "".join(f"{_newline(module)}{indentation}{part}" for part in text.split("\n"))
    return Edit(module.path, line, column, line, column, inserted)


def removed(module: SourceModule, statement: ast.stmt) -> Edit | None:
    """A statement taken out with its lines; replaced by ``pass`` where it is all there is in its block."""
    place = module.location(statement)
    first = _line(module, statement.lineno)
    end_line = statement.end_lineno or statement.lineno
    rest = _line(module, end_line)[(place.end_column or 1) - 1 :].strip()
    if _alone(module, statement):
        return replaced(module, statement, "pass")
    if first[: place.column - 1].strip() or (rest and not rest.startswith("#")) or end_line >= len(module.lines):
        return None
    return Edit(module.path, statement.lineno, 1, end_line + 1, 1, "")


def _alone(module: SourceModule, statement: ast.stmt) -> bool:
    for node in ast.walk(module.tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and any(item is statement for item in block):
                return len(block) == 1 and not isinstance(node, ast.Module)
    return False


def replaced(module: SourceModule, node: ast.AST, text: str) -> Edit:
    """Other text in the place of a node."""
    place = module.location(node)
    return Edit(module.path, place.line, place.column, place.end_line or place.line, place.end_column or place.column, text)


def added_keyword(module: SourceModule, call: ast.Call, text: str) -> Edit | None:
    """A keyword argument added to a call, after all others; ``None`` where ``**`` may bring the same."""
    given: list[ast.expr] = [*call.args, *(item.value for item in call.keywords)]
    if any(item.arg is None for item in call.keywords) or any(isinstance(item, ast.GeneratorExp) for item in given):
        return None
    end = module.location(call)
    line, column = end.end_line or end.line, (end.end_column or 2) - 1
    if not given:
        return Edit(module.path, line, column, line, column, text)
    last = max(given, key=lambda item: (item.end_lineno or 0, item.end_col_offset or 0))
    own = module.location(last)
    last_line, last_column = own.end_line or own.line, own.end_column or own.column
    between = _between(module, (last_line, last_column), (line, column))
    comma = between.find(",")
    hidden = between.find("#")
    if ")" in (between if hidden < 0 else between[:hidden]):
        return Edit(module.path, line, column, line, column, f", {text}") if hidden < 0 else None
    if comma < 0 or 0 <= hidden < comma:
        return Edit(module.path, last_line, last_column, last_line, last_column, f", {text}")
    at = last_column + comma + 1
    if "\n" in between[:comma]:
        return None
    if "\n" not in between:
        return Edit(module.path, last_line, at, last_line, at, f" {text}")
    indentation = _indentation(_line(module, own.line))
    return Edit(module.path, last_line, at, last_line, at, f"{_newline(module)}{indentation}{text},")


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _between(module: SourceModule, start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return _line(module, start[0])[start[1] - 1 : end[1] - 1]
    middle = [_line(module, number) for number in range(start[0] + 1, end[0])]
    return "\n".join([_line(module, start[0])[start[1] - 1 :], *middle, _line(module, end[0])[: end[1] - 1]])


def calls_named(node: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of methods or functions by their last name."""
    for item in ast.walk(node):
        if isinstance(item, ast.Call):
            called = item.func
            if (called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else "") in names:
                yield item


def root_name(text: str) -> str | None:
    """The first name of ``self.model`` or ``models[0].net``; ``None`` if the text is more than names, attributes and constant keys."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute) or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant | ast.Name)):
            node = node.value
        else:
            return None
    return node.id


def known_names(module: SourceModule, scope: ast.AST | None) -> set[str]:
    """Names that mean something in a function or at the top level of a module."""
    found = {*module.definitions, *module.imports}
    for node in ast.walk(scope if scope is not None else module.tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def imported_as(module: SourceModule, dotted: str) -> str | None:
    """How a file writes a name of a library: ``nn.SyncBatchNorm`` for ``torch.nn.SyncBatchNorm``."""
    best: str | None = None
    for local, target in module.imports.items():
        if dotted == target:
            return local
        if dotted.startswith(f"{target}.") and "." not in local:
            written = f"{local}{dotted[len(target):]}"
            best = written if best is None or len(written) < len(best) else best
    return best


def applied(text: str, edits: tuple[Edit, ...]) -> str:
    """A text after edits that do not overlap."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for edit in sorted(edits, key=lambda item: (item.line, item.column), reverse=True):
        begin, end = starts[edit.line - 1] + edit.column - 1, starts[edit.end_line - 1] + edit.end_column - 1
        text = text[:begin] + edit.text + text[end:]
    return text
