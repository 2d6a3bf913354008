"""Statements taken out of a file, with the blocks that nothing is left of."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from normadvisor.rewrite.source.place import SourceTree
from normadvisor.rewrite.source.spans import Text
from normadvisor.types import Edit

__all__ = ["block_of", "in_common_block", "swapped_statements", "without_statements"]

_PURE = (ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.cmpop,
         ast.boolop, ast.expr_context)  # fmt: skip
"""What a condition may consist of to be left out: looking at names does nothing."""


def block_of(tree: SourceTree, statement: ast.stmt) -> list[ast.stmt]:
    """The block that a statement is one of."""
    parent = tree.parents[statement]
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if isinstance(block, list) and any(item is statement for item in block):
            return block
    return [statement]


def without_statements(tree: SourceTree, statements: Iterable[ast.stmt]) -> list[Edit]:
    """Take statements out; an ``if`` that nothing is left in goes as well, another block keeps a ``pass``."""
    gone = {*statements}
    passes: set[ast.stmt] = set()
    pending = list(gone)
    while pending:
        statement = pending.pop()
        block = block_of(tree, statement)
        if statement not in gone or not all(item in gone for item in block):
            continue
        parent = tree.parents[statement]
        if isinstance(parent, ast.If) and block is parent.body and not parent.orelse and _pure(parent.test) and not _is_elif(tree, parent):
            gone.difference_update(block)
            gone.add(parent)
            pending.append(parent)
        elif not isinstance(parent, ast.Module):
            passes.add(block[0])
    text = Text(tree)
    kept = [text.edit(text.start(item), text.end(item), "pass") for item in passes if item in gone]
    return [*kept, *(_taken_out(text, start, end) for start, end in _runs(text, gone - passes))]


def _runs(text: Text, gone: Iterable[ast.stmt]) -> list[tuple[int, int]]:
    """Spans of statements; those that follow one another on a line (``m = 1; v = 2``) are one, as their semicolons go only once."""
    runs: list[tuple[int, int]] = []
    for start, end in sorted((text.start(item), text.end(item)) for item in gone):
        between = text.text[runs[-1][1] : start] if runs else ""
        if between.strip() == ";" and "\n" not in between:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _pure(test: ast.expr) -> bool:
    return all(isinstance(node, _PURE) for node in ast.walk(test))


def _is_elif(tree: SourceTree, statement: ast.If) -> bool:
    parent = tree.parents[statement]
    return isinstance(parent, ast.If) and parent.orelse == [statement]


def _taken_out(text: Text, start: int, end: int) -> Edit:
    if text.begins_line(start) and text.ends_line(end):
        return text.lines_removed(start, end)
    preceding = text.before(start)
    if preceding >= text.line_start(start) and text.text[preceding] == ";":
        return text.edit(preceding, end)
    following = text.after(end)
    if text.text[following : following + 1] == ";" and (rest := text.after(following + 1)) < text.line_end(end):
        return text.edit(start, rest)
    return text.edit(start, end, "pass")


def swapped_statements(tree: SourceTree, first: ast.stmt, second: ast.stmt) -> list[Edit] | None:
    """Let two neighbouring statements change places; ``None`` if they are no neighbours."""
    block = block_of(tree, first)
    positions = {id(item): index for index, item in enumerate(block)}
    if id(second) not in positions or abs(positions[id(second)] - positions[id(first)]) != 1:
        return None
    text = Text(tree)
    spans = [(text.start(item), text.end(item)) for item in (first, second)]
    if not all(text.begins_line(start) and text.ends_line(end) for start, end in spans):
        return None
    return [text.edit(*spans[0], text.text[slice(*spans[1])]), text.edit(*spans[1], text.text[slice(*spans[0])])]


def in_common_block(tree: SourceTree, first: ast.stmt, second: ast.stmt) -> tuple[ast.stmt, ast.stmt] | None:
    """The statements of one block that two statements are part of; ``None`` if one is part of the other."""
    outer = [first, *(item for item in tree.around(first) if isinstance(item, ast.stmt))]
    others = [second, *(item for item in tree.around(second) if isinstance(item, ast.stmt))]
    for item in outer:
        block = block_of(tree, item)
        for other in others:
            if other is not item and any(other is member for member in block):
                return item, other
    return None
