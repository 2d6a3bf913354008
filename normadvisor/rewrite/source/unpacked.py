"""What a call unpacks with ``**``, where the text tells: a dictionary written there or in a variable that nothing changes."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from normadvisor.rewrite.source.callee import default_of, parameter_names
from normadvisor.rewrite.source.imports import bound_names
from normadvisor.rewrite.source.place import SourceTree

__all__ = ["Unpacked", "concerns_others", "entry_of_file", "unpacked"]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The entries of a dictionary."""

    entries: dict[str, ast.expr]
    uses: int
    """How many calls unpack it."""


def unpacked(tree: SourceTree, value: ast.expr) -> Unpacked | None:
    """The entries of what stands behind ``**``; ``None`` if the text does not tell."""
    if not isinstance(value, ast.Name):
        entries = _entries(value)
        return None if entries is None else Unpacked(entries, 1)
    scope = _scope(tree, value)
    if scope is None:
        return None
    names = [node for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id == value.id]
    stored = [node for node in names if not isinstance(node.ctx, ast.Load)]
    loaded = [node for node in names if isinstance(node.ctx, ast.Load)]
    if len(stored) != 1 or not all(_is_unpacked(tree, node) for node in loaded):
        return None
    statement = tree.parents[stored[0]]
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or (isinstance(statement, ast.Assign) and len(statement.targets) > 1):
        return None
    entries = None if statement.value is None else _entries(statement.value)
    return None if entries is None else Unpacked(entries, len(loaded))


def entry_of_file(tree: SourceTree, value: ast.expr, name: str) -> tuple[str, ast.expr] | None:
    """An entry of a dictionary of the whole file that stands behind ``**``, itself or as the default of a parameter.

    Other code may change it or read it, so this is for people to look at.

    Returns:
        The name of the dictionary and the entry as it is written; ``None`` if no such dictionary has it.

    """
    function = tree.function(value)
    if isinstance(value, ast.Name) and function is not None and value.id in parameter_names(function):
        value = default_of(function, value.id) or value
    if not isinstance(value, ast.Name):
        return None
    assigned = (node for node in tree.module.tree.body if isinstance(node, ast.Assign))
    found = [node.value for node in assigned if any(isinstance(item, ast.Name) and item.id == value.id for item in node.targets)]
    entry = (_entries(found[0]) or {}).get(name) if len(found) == 1 else None
    return None if entry is None else (value.id, entry)


def concerns_others(tree: SourceTree, rest: ast.Name, name: str | None) -> bool:
    """Whether a use of ``**rest`` has nothing to do with one of its entries: it asks for another, or hands all on to another call."""
    parent = tree.parents[rest]
    if isinstance(parent, ast.keyword):
        return parent.arg is None
    if isinstance(parent, ast.Subscript) and parent.value is rest:
        return _is_text(parent.slice, other_than=name)
    if isinstance(parent, ast.Compare):
        return isinstance(parent.ops[0], ast.In | ast.NotIn) and _is_text(parent.left, other_than=name)
    call = tree.parents.get(parent)
    if not isinstance(parent, ast.Attribute) or not isinstance(call, ast.Call) or call.func is not parent or not call.args:
        return False
    if parent.attr == "setdefault":
        return isinstance(call.args[0], ast.Constant)
    return parent.attr in {"pop", "get"} and _is_text(call.args[0], other_than=name)


def _is_text(node: ast.expr, *, other_than: str | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != other_than


def _scope(tree: SourceTree, name: ast.Name) -> ast.AST | None:
    """The function whose variable a name is; ``None`` if it is a parameter. Variables of the whole file may be changed by others."""
    function = tree.function(name)
    while function is not None:
        if name.id in bound_names(function):
            taken = {item.arg for item in ast.walk(function.args) if isinstance(item, ast.arg)}
            return None if name.id in taken else function
        function = tree.function(function)
    return None


def _is_unpacked(tree: SourceTree, node: ast.Name) -> bool:
    parent = tree.parents[node]
    return isinstance(parent, ast.keyword) and parent.arg is None


def _entries(value: ast.expr) -> dict[str, ast.expr] | None:
    """Entries of ``{"a": 1}`` and of ``dict(a=1)``."""
    if isinstance(value, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in value.keys]
        found = {key: item for key, item in zip(keys, value.values, strict=True) if isinstance(key, str)}
        return found if len(found) == len(keys) else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict" and not value.args:
        named = {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg is not None}
        return named if len(named) == len(value.keywords) else None
    return None
