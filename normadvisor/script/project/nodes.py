"""Goes through syntax trees, quicker than the standard library does: only fields that hold nodes of interest are looked at."""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["walk"]

_PLAIN = frozenset(
    {"ctx", "op", "ops", "attr", "id", "name", "level", "module", "lineno", "kind", "asname", "type_comment", "conversion", "simple"}
    | {"is_async", "names", "arg", "type_ignores", "kwd_attrs"}
)
"""Fields that hold texts, numbers and signs."""


class _Children(dict[type, tuple[str, ...]]):
    """The fields of each kind of node that hold further nodes."""

    def __missing__(self, kind: type) -> tuple[str, ...]:
        found: tuple[str, ...] = ()
        if issubclass(kind, ast.AST) and not issubclass(kind, ast.Constant | ast.MatchSingleton | ast.MatchStar):
            found = tuple(name for name in kind._fields if name not in _PLAIN and not (kind is ast.MatchMapping and name == "rest"))
        self[kind] = found
        return found


_CHILDREN = _Children()


def walk(root: ast.AST) -> list[ast.AST]:
    """A node and everything below it, in the order of :func:`ast.walk`, less contexts, operators and imported names."""
    found: list[Any] = [root]
    holes = False
    children = _CHILDREN
    for node in found:
        for name in children[type(node)]:
            value = getattr(node, name, None)
            if value.__class__ is list:
                found += value
                holes = holes or name in {"keys", "kw_defaults"}
            elif value is not None:
                found.append(value)
    return [node for node in found if node is not None] if holes else found
