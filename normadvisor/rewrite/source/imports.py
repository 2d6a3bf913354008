"""How a file writes the name of a class or function of a library, and the import it needs for that."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from normadvisor.rewrite.source.place import Refused, SourceTree
from normadvisor.script.project.externals import external_name
from normadvisor.types import Edit

__all__ = ["bound_names", "is_bound_locally", "name_for", "new_name"]

_USUAL = {"torch.nn": ("nn", "from torch import nn"), "torch.nn.functional": ("F", "import torch.nn.functional as F")}
"""Names that everybody gives to these modules, and how they are imported."""


@dataclass(frozen=True, slots=True)
class _Binding:
    """A name that an import at the top level binds."""

    local: str
    target: str
    statement: ast.Import | ast.ImportFrom


def name_for(dotted: str, tree: SourceTree, at: ast.AST, like: ast.expr | None = None) -> tuple[str, list[Edit]]:
    """How a file writes a dotted name, in the style of the imports it has.

    Args:
        dotted: such as ``torch.nn.GroupNorm`` or ``functools.partial``.
        tree: the file.
        at: where the name is going to stand; names that mean something else there are not used.
        like: a name of the same library that stands there, to be written in the same way.

    Returns:
        The text, and the edits that import it: none where the file has what it takes.

    Raises:
        Refused: every way to write it is taken by another meaning.

    """
    parent, _, name = dotted.rpartition(".")
    known = [binding for binding in _bindings(tree) if _is_visible(binding, tree, at)]
    if like is not None and (text := _written_like(like, parent, known)):
        return f"{text}.{name}", []
    if (exact := next((binding.local for binding in known if binding.target == dotted), None)) is not None:
        return exact, []
    star = parent in tree.module.stars and _is_public(parent, name)
    if star and not _is_taken(name, tree, at):
        return name, []
    members = (item for item in known if isinstance(item.statement, ast.ImportFrom) and item.target.rpartition(".")[0] == parent)
    from_import = next(members, None)
    style = from_import is not None and isinstance(like, ast.Name) and like.id == from_import.local
    prefixes = sorted((item for item in known if dotted.startswith(f"{item.target}.")), key=lambda item: -len(item.target))
    near = [item for item in prefixes if item.target == parent]
    if near and not style:
        return f"{near[0].local}.{name}", []
    if from_import is not None and not _is_taken(name, tree, at):
        edit = _added_alias(tree, from_import.statement, name)
        if edit is not None:
            return name, [edit]
    for item in prefixes:
        rest = dotted[len(item.target) + 1 :]
        if _reaches(item.target, rest):
            return f"{item.local}.{rest}", []
    return _newly_imported(dotted, tree, at)


def is_bound_locally(name: str, tree: SourceTree, at: ast.AST) -> bool:
    """Whether a function around a place binds a name itself: an argument, a variable, a loop, a local import or definition."""
    function = tree.function(at)
    while function is not None:
        if name in bound_names(function):
            return True
        function = tree.function(function)
    return False


def bound_names(function: ast.AST) -> set[str]:
    """Names that a function binds, those of functions inside it included."""
    return set(_bound(function))


def new_name(name: str, taken: set[str]) -> str:
    """A name that is not taken: ``bn``, ``bn_2``, ``bn_3`` ..."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _bound(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node is not function:
            yield node.name


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top level that always run, those that are tried included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.Try | ast.With):
            yield from _statements(statement.body)


def _bindings(tree: SourceTree) -> Iterator[_Binding]:
    """What imports bind at the top level, in their order; without names that the file defines as well."""
    module = tree.module
    for statement in _statements(module.tree.body):
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for alias in statement.names:
            local = alias.asname or (alias.name.partition(".")[0] if isinstance(statement, ast.Import) else alias.name)
            if local in module.imports and local not in module.definitions:
                yield _Binding(local, external_name(module.imports[local]), statement)


def _is_visible(binding: _Binding, tree: SourceTree, at: ast.AST) -> bool:
    runs_later = tree.function(at) is not None or binding.statement.lineno < getattr(at, "lineno", 0)
    return runs_later and not is_bound_locally(binding.local, tree, at)


def _is_taken(name: str, tree: SourceTree, at: ast.AST) -> bool:
    module = tree.module
    return name in module.definitions or name in module.imports or is_bound_locally(name, tree, at)


def _written_like(like: ast.expr, parent: str, known: list[_Binding]) -> str | None:
    """The prefix of a name that stands there, if it names the module that the other name is in."""
    if not isinstance(like, ast.Attribute):
        return None
    parts: list[str] = []
    node: ast.expr = like.value
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    first = node.id
    target = next((item.target for item in known if item.local == first), None)
    return ".".join([first, *parts]) if target is not None and ".".join([target, *parts]) == parent else None


def _is_public(module: str, name: str) -> bool:
    """Whether a star import of a module brings a name."""
    found = sys.modules.get(module)
    return found is not None and hasattr(found, name) and name in getattr(found, "__all__", [name])


def _reaches(module: str, rest: str) -> bool:
    """Whether attributes lead from an imported module to a name."""
    found: object = sys.modules.get(module)
    for part in rest.split("."):
        if found is None or not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def _added_alias(tree: SourceTree, statement: ast.Import | ast.ImportFrom, name: str) -> Edit | None:
    """A name added to ``from ... import ...``: where the order of the alphabet wants it if there is one, else last."""
    names = statement.names
    keys = [alias.name for alias in names]
    if any(alias.name == "*" for alias in names):
        return None
    later = next((alias for alias in names if alias.name > name), None) if keys == sorted(keys) else None
    own_lines = len({alias.lineno for alias in names} | {statement.lineno}) > len(names)
    if later is not None:
        indentation = _indentation(tree, later)
        return tree.insertion(later, f"{name},\n{indentation}" if own_lines else f"{name}, ")
    last = names[-1]
    if not own_lines:
        return tree.insertion(last, f", {name}", after=True)
    place = tree.module.location(last)
    line = tree.module.lines[(last.end_lineno or last.lineno) - 1]
    rest = line[(place.end_column or 1) - 1 :]
    if not rest.startswith(","):
        return tree.insertion(last, f",\n{_indentation(tree, last)}{name}", after=True)
    return tree.point(last.end_lineno or last.lineno, len(line) + 1, f"\n{_indentation(tree, last)}{name},")


def _indentation(tree: SourceTree, node: ast.AST) -> str:
    line = tree.module.lines[getattr(node, "lineno", 1) - 1]
    return line[: len(line) - len(line.lstrip())]


def _newly_imported(dotted: str, tree: SourceTree, at: ast.AST) -> tuple[str, list[Edit]]:
    """The name by an import of its own."""
    parent, _, name = dotted.rpartition(".")
    top = dotted.partition(".")[0]
    usual = _USUAL.get(parent)
    if usual is not None and not _is_taken(usual[0], tree, at):
        return f"{usual[0]}.{name}", [_import_line(tree, usual[1], at)]
    if parent and not _is_taken(name, tree, at):
        return name, [_import_line(tree, f"from {parent} import {name}", at)]
    if parent and not _is_taken(top, tree, at):
        return dotted, [_import_line(tree, f"import {parent}", at)]
    raise Refused(f"{tree.module.path} gives other meanings to every name that {dotted} could be imported as")


def _import_line(tree: SourceTree, text: str, at: ast.AST) -> Edit:
    """An import on a line of its own, after those at the head of the file."""
    body = tree.module.tree.body
    head = next((index for index, item in enumerate(body) if not (_is_import(item) or _is_docstring(item))), len(body))
    imports = [item for item in body[:head] if _is_import(item)] or [item for item in body if _is_import(item)][:1]
    if tree.function(at) is None:
        imports = [item for item in imports if item.lineno < getattr(at, "lineno", 0)]
    before = imports[-1:] or [item for item in body[:1] if _is_docstring(item)]
    if not before:
        line = min((item.lineno for item in (body[0], *getattr(body[0], "decorator_list", ()))), default=1) if body else 1
        return tree.point(line, 1, f"{text}\n")
    end = before[0].end_lineno or before[0].lineno
    line = max((item.end_lineno or item.lineno for item in body if item.lineno <= end), default=end)
    gap = "" if imports else "\n"
    return tree.point(line, len(tree.module.lines[line - 1]) + 1, f"\n{gap}{text}")


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
