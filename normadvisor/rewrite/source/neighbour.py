"""The text that gives the number of channels of the layer in front of a norm, where both are built in the same function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from normadvisor.rewrite.source.callee import given, slot_of
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext
from normadvisor.types import GROUPS, Location

__all__ = ["is_steady_between", "width_in_front"]

_GIVEN_BY = ("out_channels", "out_features", "num_features", "num_channels")
"""Parameters that say how many channels a layer gives."""
_MAPS = frozenset({*GROUPS["linear_map"], "batch_norm", "group_norm", "instance_norm"})
_KEEPING = frozenset({"pad"}.union(*(GROUPS[group] for group in ("identity_like", "activation", "dropout_like", "pooling"))))
_MOST_STEPS = 8
"""Nodes looked at between a norm and the layer in front."""
_PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.Subscript, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def width_in_front(context: WriteContext, widths: Mapping[str, object]) -> str | None:
    """What the call in front writes for its output channels, if that is right for every one of some norms that one call builds.

    Args:
        context: the model.
        widths: the number of channels that each of the norms needs.

    Returns:
        The text, which means the same at the call of the norms; ``None`` if there is none, or it is a plain number.

    """
    texts = {_width(context, name, value) for name, value in widths.items()}
    return texts.pop() if len(texts) == 1 else None


def _width(context: WriteContext, name: str, value: object) -> str | None:
    try:
        frames = context.frames(name)
        tree, norm = context.call_at(frames[0].location)
    except Refused:
        return None
    outer = tuple(frame.location for frame in frames[1:])
    for layer in dict.fromkeys(_in_front(context, name)):
        expression = _given(context, tree, norm, layer, outer, value)
        if expression is not None:
            return tree.module.segment(expression)
    return None


def _in_front(context: WriteContext, name: str) -> Iterable[str]:
    """Layers whose channels a norm gets."""
    nodes = context.graph.nodes
    pending = [index for node in nodes if node.module == name for index in node.inputs[:1]]
    seen: set[int] = set()
    while pending and len(seen) < _MOST_STEPS:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        node = nodes[index]
        if node.op in _MAPS and node.cls:
            yield node.module
        elif node.op in _KEEPING:
            pending += node.inputs[:1]


def _given(
    context: WriteContext, tree: SourceTree, norm: ast.Call, layer: str, outer: tuple[Location, ...], value: object
) -> ast.expr | None:
    """The argument of a layer's call that is its number of output channels, if it says the same at the call of the norm."""
    try:
        frames = context.frames(layer)
        module = context.module(layer)
    except Refused:
        return None
    if frames[0].location.path != tree.module.path or tuple(frame.location for frame in frames[1:]) != outer:
        return None
    call = tree.call_at(frames[0].location)
    role = next((item for item in _GIVEN_BY if getattr(module, item, None) == value), None)
    if call is None or role is None:
        return None
    slot = slot_of(type(module), role)
    found = None if slot is None else given(call, slot).value
    if found is None or isinstance(found, ast.Constant) or not all(isinstance(node, _PLAIN) for node in ast.walk(found)):
        return None
    return found if _scope(tree, call) is _scope(tree, norm) and is_steady_between(tree, found, call, norm) else None


def _scope(tree: SourceTree, node: ast.AST) -> ast.AST | None:
    """The function, lambda or comprehension around a node."""
    return next((item for item in tree.around(node) if isinstance(item, _INNER)), None)


def is_steady_between(tree: SourceTree, expression: ast.expr, first: ast.AST, second: ast.AST) -> bool:
    """Whether nothing that an expression reads is given another value in the text between two nodes of a function.

    The second has to stand behind the first, so that a loop does not come round in between.
    """
    read = {ast.unparse(node) for node in ast.walk(expression) if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)}
    start, end = _position(first), _position(second)
    if start > end:
        return False
    around = tree.function(first) or tree.module.tree
    stored = (
        node
        for node in ast.walk(around)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)
    )
    return not any(start < _position(node) < end and ast.unparse(node) in read for node in stored)


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
