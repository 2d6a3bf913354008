"""Which assignment a name in a function has its value from."""

from __future__ import annotations

import ast
from collections.abc import Collection
from enum import Enum

from normadvisor.rewrite.source.place import SourceTree
from normadvisor.rewrite.source.statements import block_of

__all__ = ["Definition", "Unclear", "definition"]


class Unclear(Enum):
    """A value that no single statement gives."""

    OUTSIDE = "an argument, or a name from outside the function"
    SEVERAL = "one of several assignments"


Definition = ast.stmt | Unclear


def definition(tree: SourceTree, name: str, at: ast.AST, skip: Collection[ast.stmt] = ()) -> Definition:
    """The statement that gives a name the value it has at a place.

    Args:
        tree: the file.
        name: the name.
        at: where it is read, somewhere in a function.
        skip: statements that are as good as gone.

    """
    function = tree.function(at)
    if function is None or isinstance(function, ast.Lambda):
        return Unclear.OUTSIDE
    statement: ast.AST = tree.statement(at)
    while statement is not function:
        if isinstance(statement, ast.stmt):
            found = _above(tree, statement, name, skip)
            if found is not None:
                return found
        parent = tree.parents[statement]
        if _binds_itself(parent, name) or _binds_before(parent, name, skip):
            return Unclear.SEVERAL
        statement = parent
    return Unclear.OUTSIDE


def _binds_before(parent: ast.AST, name: str, skip: Collection[ast.stmt]) -> bool:
    """Whether an earlier iteration of a loop may have bound a name."""
    if not isinstance(parent, ast.For | ast.AsyncFor | ast.While):
        return False
    return any(_binds(item, name) for item in (*parent.body, *parent.orelse) if item not in skip)


def _above(tree: SourceTree, statement: ast.stmt, name: str, skip: Collection[ast.stmt]) -> Definition | None:
    block = block_of(tree, statement)
    position = next((index for index, item in enumerate(block) if item is statement), 0)
    for item in reversed(block[:position]):
        if item in skip or not _binds(item, name):
            continue
        simple = isinstance(item, ast.Assign | ast.AnnAssign | ast.AugAssign)
        return item if simple else Unclear.SEVERAL
    return None


def _binds(statement: ast.AST, name: str) -> bool:
    return any(_is_store(node, name) for node in ast.walk(statement))


def _binds_itself(holder: ast.AST, name: str) -> bool:
    """Whether the head of a loop, a ``with`` or a handler binds a name."""
    if isinstance(holder, ast.ExceptHandler):
        return holder.name == name
    heads: list[ast.AST] = []
    if isinstance(holder, ast.For | ast.AsyncFor):
        heads = [holder.target]
    elif isinstance(holder, ast.With | ast.AsyncWith):
        heads = [item.optional_vars for item in holder.items if item.optional_vars is not None]
    elif isinstance(holder, ast.match_case):
        heads = [holder.pattern]
    return any(_is_store(node, name) for head in heads for node in ast.walk(head))


def _is_store(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Store | ast.Del)
    return isinstance(node, ast.MatchAs | ast.MatchStar) and node.name == name
