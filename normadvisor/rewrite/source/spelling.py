"""How a function that runs layers writes an activation already: ``torch.relu(x)``, ``x.relu()`` or ``self.relu(x)``."""

from __future__ import annotations

import ast

from normadvisor.rewrite.source.calls import Use, called_at
from normadvisor.rewrite.source.layers import FUNCTIONS, settings_of
from normadvisor.rewrite.source.place import SourceTree, WriteContext
from normadvisor.script.project.externals import external_name
from normadvisor.types import Edit, expand
from normadvisor.types.operation import Operation

__all__ = ["as_used"]


def as_used(context: WriteContext, use: Use, operation: Operation) -> tuple[str, str, list[Edit]] | None:
    """Text before and behind a call for the activation to be put around it, as the same function writes that activation elsewhere.

    Args:
        context: the model.
        use: the call.
        operation: says which layer is put in; one with arguments is written as a layer or function of its own.

    Returns:
        Texts and no edits of imports; ``None`` if the function does not use the activation.

    """
    function = FUNCTIONS.get(operation.layer.rpartition(".")[2])
    scope = use.tree.function(use.call)
    if operation.arguments or function is None or scope is None or function.startswith("dropout"):
        return None
    calls = [node for node in ast.walk(scope) if isinstance(node, ast.Call) and node is not use.call]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        if (found := _written(context, use, operation, call, function)) is not None:
            return *found, []
    return None


def _written(context: WriteContext, use: Use, operation: Operation, call: ast.Call, function: str) -> tuple[str, str] | None:
    if call.keywords:
        return None
    func = call.func
    if _dotted(use.tree, func) in {f"torch.{function}", f"torch.nn.functional.{function}"}:
        return (f"{ast.unparse(func)}(", ")") if len(call.args) == 1 else None
    if not isinstance(func, ast.Attribute):
        return None
    if len(call.args) == 1 and isinstance(func.value, ast.Name):
        return (f"{ast.unparse(func)}(", ")") if _is_attribute(context, use, operation, func) else None
    is_method = func.attr == function and not call.args and _is_value(use.tree, func.value)
    return ("", f".{function}()") if is_method else None


def _dotted(tree: SourceTree, func: ast.expr) -> str:
    """The full name of what a file calls by an imported name."""
    root, _, rest = ast.unparse(func).partition(".")
    target = tree.module.imports.get(root)
    return external_name(f"{target}.{rest}" if rest else target) if target is not None else ""


def _is_value(tree: SourceTree, node: ast.expr) -> bool:
    return not isinstance(node, ast.Name) or (node.id != "self" and node.id not in tree.module.imports)


def _is_attribute(context: WriteContext, use: Use, operation: Operation, func: ast.Attribute) -> bool:
    """Whether an attribute is such a layer in every module whose function makes the call."""
    nodes = called_at(context, use.location)
    names = {node.module.rpartition(".")[0] if node.cls else node.module for node in nodes}
    may_overwrite = all(node.op in expand(("linear_map",)) for node in nodes)
    for name in names:
        layer = getattr(context.module(name), func.attr, None)
        cls = type(layer)
        if not cls.__module__.startswith("torch.nn.") or cls.__name__ != operation.layer.rpartition(".")[2]:
            return False
        settings = settings_of(cls, layer)
        if set(settings) - ({"inplace"} if may_overwrite else set()):
            return False
    return bool(names)
