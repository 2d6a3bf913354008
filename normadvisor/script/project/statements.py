"""What the statements of a file import and define, without looking at its expressions: that is what makes it quick."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["Imported", "bound_names", "scan"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Imported:
    """The imports and top-level definitions of a file, as written."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[int, str]] = {}
        """Local name to the level of a relative import (0: absolute) and the dotted name."""
        self.stars: list[tuple[int, str]] = []
        self.definitions: dict[str, ast.stmt] = {}
        self.exported: list[str] | None = None
        """What ``__all__`` lists, if it is a literal."""
        self.nested_classes: dict[str, ast.ClassDef] = {}
        """Classes inside functions and classes, by name."""
        self._inner: dict[str, tuple[int, str]] = {}

    def add_import(self, node: ast.Import | ast.ImportFrom, *, top: bool) -> None:
        """Note an import; one at the top level wins over one inside a function, the first of several over the others."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._bind(name, (0, alias.name if alias.asname else name), top=top)
            return
        module = node.module or ""
        for alias in node.names:
            if alias.name == "*":
                self.stars.append((node.level, module))
            else:
                self._bind(alias.asname or alias.name, (node.level, f"{module}.{alias.name}" if module else alias.name), top=top)

    def _bind(self, name: str, target: tuple[int, str], *, top: bool) -> None:
        if top:
            self.names.setdefault(name, target)
        else:
            self._inner.setdefault(name, target)

    def finish(self) -> None:
        """Add what only functions import."""
        for name, target in self._inner.items():
            self.names.setdefault(name, target)

    def define(self, name: str, node: ast.stmt, *, plain: bool) -> None:
        """Note a definition. Outside branches the last one counts, but an assignment never replaces a function or class."""
        old = self.definitions.get(name)
        if old is None or (plain and (isinstance(node, _Definition) or not isinstance(old, _Definition))):
            self.definitions[name] = node


def scan(tree: ast.Module) -> Imported:
    """Imports and definitions of a file."""
    found = Imported()
    pending: list[tuple[list[ast.stmt], bool, bool]] = [(tree.body, True, True)]
    while pending:
        body, top, plain = pending.pop()
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                found.add_import(node, top=top)
            elif top:
                _define(found, node, plain=plain)
            elif isinstance(node, ast.ClassDef):
                found.nested_classes.setdefault(node.name, node)
            inside = not isinstance(node, _Definition)
            pending.extend((block, top and inside, False) for block in _blocks(node))
    found.finish()
    return found


def _define(found: Imported, node: ast.stmt, *, plain: bool) -> None:
    if isinstance(node, _Definition):
        found.define(node.name, node, plain=plain)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            for name in bound_names(target):
                found.define(name, node, plain=plain)
                if name == "__all__":
                    found.exported = _literal_names(node.value)


def bound_names(target: ast.expr) -> Iterator[str]:
    """Names that an assignment to ``target`` binds."""
    pending = [target]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Tuple | ast.List):
            pending.extend(node.elts)
        elif isinstance(node, ast.Starred):
            pending.append(node.value)


def _literal_names(node: ast.expr | None) -> list[str] | None:
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    return [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("finalbody", "orelse", "handlers", "cases", "body"):
        block = getattr(node, field, None)
        if not block or not isinstance(block, list):
            continue
        if field in {"handlers", "cases"}:
            for part in reversed(block):
                yield part.body
        else:
            yield block
