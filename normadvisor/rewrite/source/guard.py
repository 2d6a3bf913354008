"""Which condition decides whether a layer has a norm behind it: ``bias=not batch_norm`` where ``if batch_norm:`` builds the norm."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TypeAlias

from normadvisor.graph.canonical import NORMS
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext
from normadvisor.rewrite.source.uses import is_true
from normadvisor.types import Location

__all__ = ["builds_norm", "without_norm"]

_Places: TypeAlias = tuple[Location, ...]

_MOST_STEPS = 8
"""Nodes looked at between a layer and its norm."""
_NEGATED = {ast.Is: "is not", ast.IsNot: "is", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in", ast.NotIn: "in"}
_PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.UnaryOp, ast.BoolOp, ast.cmpop, ast.unaryop, ast.boolop, ast.expr_context)


def without_norm(
    context: WriteContext,
    tree: SourceTree,
    call: ast.Call,
    wanted: Mapping[str, _Places],
    others: Mapping[str, _Places],
    old: ast.expr | None = None,
) -> str | None:
    """An expression that is false where a norm is built behind a layer, and else what an argument was before.

    Args:
        context: the model.
        tree: the file of the call.
        call: builds the layers.
        wanted: layers that a norm follows, with the places that call the function around the call, innermost first.
        others: other layers that the call builds, in the same way.
        old: the argument so far; ``None`` or ``True`` if it was true.

    Returns:
        The expression, to be written in the call; ``None`` if it would be false for some other layer, or no single condition in the
        function around the call decides it.

    """
    found: dict[tuple[ast.If | ast.IfExp, bool], set[Location]] = {}
    for name, outer in wanted.items():
        for norm in _norms_behind(context, name) or [""]:
            condition = _condition(context, tree, call, norm, outer)
            if condition is None:
                return None
            found.setdefault(condition[0], set()).add(condition[1])
    if len(found) != 1:
        return None
    (branch, holds), places = found.popitem()
    for outer in others.values():
        passing = ((norm, at) for place in places for norm, at in context.passing(place))
        if any(_frames(context, norm)[at + 1 :] == outer for norm, at in passing):
            return None
    if not _is_steady(tree, call, branch):
        return None
    text = _negation(tree, branch.test) if holds else tree.module.segment(branch.test)
    if old is None or is_true(old):
        return text
    if not isinstance(old, ast.Name | ast.Attribute) or _follows(tree, old, branch.test, holds=holds):
        return None
    parsed = ast.parse(f"({text})", mode="eval").body
    loose = isinstance(parsed, ast.BoolOp) and isinstance(parsed.op, ast.Or)
    return f"{tree.module.segment(old)} and {f'({text})' if loose else text}"


def _follows(tree: SourceTree, old: ast.Name | ast.Attribute, test: ast.expr, *, holds: bool) -> bool:
    """Whether an argument can only be true where a norm is built, so that it is to be false everywhere: ``use_bias = norm == "bn"``."""
    function = tree.function(old)
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == ast.unparse(old) for target in node.targets):
            return holds and ast.unparse(node.value) == ast.unparse(test)
    return False


def builds_norm(context: WriteContext, name: str, places: _Places) -> bool:
    """Whether all norms behind a layer are built by a call, given with the places around it, innermost first."""
    found = [_frames(context, norm) if norm else () for norm in _norms_behind(context, name)]
    return bool(found) and all(len(frames) > len(places) and frames[len(frames) - len(places) :] == places for frames in found)


def _norms_behind(context: WriteContext, name: str) -> list[str]:
    """Norms that are modules and take what a layer gives, perhaps through other operations."""
    nodes = context.graph.nodes
    pending = [user for node in nodes if node.module == name for user in node.users]
    seen: set[int] = set()
    found: list[str] = []
    while pending and len(seen) < _MOST_STEPS:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        node = nodes[index]
        if node.op in NORMS:
            found.append(node.module if node.cls else "")
        else:
            pending += node.users
    return found


def _frames(context: WriteContext, name: str) -> _Places:
    try:
        return tuple(frame.location for frame in context.frames(name))
    except Refused:
        return ()


def _condition(
    context: WriteContext, tree: SourceTree, call: ast.Call, norm: str, outer: _Places
) -> tuple[tuple[ast.If | ast.IfExp, bool], Location] | None:
    """The one condition in the function around a call under which a norm is built and the call is made anyway, and whether it has to hold.

    Returns:
        These two, and the place in the function that builds the norm or calls what builds it; ``None`` if there is no such condition.

    """
    frames = _frames(context, norm) if norm else ()
    at = len(frames) - len(outer) - 1
    if at < 0 or frames[at + 1 :] != outer or frames[at].path != tree.module.path:
        return None
    built = tree.call_at(frames[at])
    function = tree.function(call)
    if built is None or function is None or tree.function(built) is not function:
        return None
    free = {id(item) for item in (call, *tree.around(call))}
    found: list[tuple[ast.If | ast.IfExp, bool]] = []
    child: ast.AST = built
    for item in tree.around(built):
        if item is function:
            break
        if isinstance(item, ast.If | ast.IfExp) and child is not item.test:
            body = item.body if isinstance(item.body, list) else [item.body]
            holds = any(child is part for part in body)
            if id(item) not in free or not any(id(part) in free for part in (body if holds else _otherwise(item))):
                found.append((item, holds))
        child = item
    return (found[0], frames[at]) if len(found) == 1 else None


def _otherwise(branch: ast.If | ast.IfExp) -> list[ast.AST]:
    return list(branch.orelse) if isinstance(branch.orelse, list) else [branch.orelse]


def _is_steady(tree: SourceTree, call: ast.Call, branch: ast.If | ast.IfExp) -> bool:
    """Whether a condition is made of names and attributes, and says the same at a call."""
    if not all(isinstance(node, _PLAIN) for node in ast.walk(branch.test)) or isinstance(branch.test, ast.Constant):
        return False
    read = {ast.unparse(node) for node in ast.walk(branch.test) if isinstance(node, ast.Name | ast.Attribute)}
    first, last = sorted([(call.lineno, call.col_offset), (branch.lineno, branch.col_offset)])
    function = tree.function(call)
    if function is None:
        return False
    for node in ast.walk(function):
        if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            inside = first < (node.lineno, node.col_offset) < last
            if inside and ast.unparse(node) in read:
                return False
    return True


def _negation(tree: SourceTree, test: ast.expr) -> str:
    text = tree.module.segment(test)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return tree.module.segment(test.operand)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _NEGATED:
        return f"{tree.module.segment(test.left)} {_NEGATED[type(test.ops[0])]} {tree.module.segment(test.comparators[0])}"
    return f"not {text}" if isinstance(test, ast.Name | ast.Attribute) else f"not ({text})"
