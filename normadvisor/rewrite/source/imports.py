"""How a file writes the name of a class or function of a library, and the import it needs for that."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from normadvisor.rewrite.source.place import Refused, SourceTree
from normadvisor.types import Edit

__all__ = ["is_bound_locally", "name_for", "new_name"]

_USUAL = {"torch.nn": "nn", "torch.nn.functional": "F"}
"""Names that everybody gives to these modules."""


def name_for(dotted: str, tree: SourceTree, at: ast.AST | None = None) -> tuple[str, list[Edit]]:
    """How a file writes a dotted name, in the style of the imports it has.

    Args:
        dotted: such as ``torch.nn.GroupNorm`` or ``functools.partial``.
        tree: the file.
        at: where the name is going to stand; names that mean something else there are not used.

    Returns:
        The text, and the edits that import it: none where the file has what it takes.

    Raises:
        Refused: every way to write it is taken by another meaning.

    """
    raise Refused(f"{dotted} cannot be named in {tree.module.path}")


def is_bound_locally(name: str, tree: SourceTree, at: ast.AST) -> bool:
    """Whether a function around a place binds a name itself: an argument, a variable, a loop, a local import or definition."""
    function = tree.function(at)
    while function is not None:
        if name in set(_bound(function)):
            return True
        function = tree.function(function)
    return False


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
