"""What a function does with its parameters, and which calls name it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from normadvisor.rewrite.source.callee import Slot, given, parameter_names
from normadvisor.rewrite.source.place import FunctionNode, SourceTree

__all__ = [
    "assigned_for",
    "calls",
    "fills_in_none",
    "has_fallback",
    "is_asked_for",
    "is_name",
    "is_true",
    "last_name",
    "left_out_elsewhere",
    "title",
]


_PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.UnaryOp, ast.BoolOp, ast.cmpop, ast.unaryop, ast.boolop, ast.expr_context)
"""What can be taken out without anything being left undone."""


def has_fallback(function: FunctionNode | None, name: str) -> bool:
    """Whether a function puts an argument into its ``**rest`` where nobody gave it."""
    found = (node for node in ast.walk(function) if isinstance(node, ast.Call)) if function is not None else ()
    return any(last_name(call.func) == "setdefault" and _is_constant(call.args[:1], name) for call in found)


def _is_constant(nodes: Sequence[ast.expr], value: object) -> bool:
    return len(nodes) == 1 and isinstance(nodes[0], ast.Constant) and nodes[0].value == value


def title(function: FunctionNode) -> str:
    """What a function is called, in words."""
    return "a lambda" if isinstance(function, ast.Lambda) else f"`{function.name}`"


def is_name(node: ast.expr, name: str) -> bool:
    """Whether an expression is a certain name."""
    return isinstance(node, ast.Name) and node.id == name


def is_true(node: ast.expr) -> bool:
    """Whether an expression is ``True`` as it is written."""
    return isinstance(node, ast.Constant) and node.value is True


def assigned_for(tree: SourceTree, value: ast.expr) -> ast.expr | None:
    """What a variable is set to, if it is set once and read nowhere but at one place; ``None`` else.

    Args:
        tree: the file.
        value: the place where it is read.

    """
    function = tree.function(value)
    if not isinstance(value, ast.Name) or function is None or value.id in parameter_names(function):
        return None
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == value.id and node is not value]
    assigned = tree.parents[names[0]] if len(names) == 1 else None
    if not isinstance(assigned, ast.Assign) or assigned.targets != names or tree.function(assigned) is not function:
        return None
    return assigned.value if all(isinstance(node, _PLAIN) for node in ast.walk(assigned.value)) else None


def calls(call: ast.Call, function: FunctionNode, tree: SourceTree) -> bool:
    """Whether a call names the function or its class, so that nothing that it is wrapped in fills in arguments."""
    if isinstance(function, ast.Lambda):
        return False
    called, owner = last_name(call.func), tree.owner(function)
    if function.name != "__init__" or owner is None:
        return called == function.name
    if called != "__init__":
        return called in {owner.name, "cls"}
    caller = tree.function(call)
    heir = tree.owner(caller) if caller is not None else None
    return heir is not None and any(last_name(base) == owner.name for base in heir.bases)


def is_asked_for(tree: SourceTree, name: ast.Name) -> bool:
    """Whether a name is only compared with ``None``, which says the same of every class."""
    parent = tree.parents[name]
    if not isinstance(parent, ast.Compare) or len(parent.ops) != 1 or not isinstance(parent.ops[0], ast.Is | ast.IsNot):
        return False
    return any(isinstance(item, ast.Constant) and item.value is None for item in (parent.left, *parent.comparators))


def fills_in_none(tree: SourceTree, name: ast.Name) -> bool:
    """Whether a name stands in ``if name is None: name = ...``, as what is asked or what is assigned."""
    statement = tree.statement(name)
    test = statement if isinstance(statement, ast.If) else tree.parents[statement]
    if not isinstance(test, ast.If) or test.orelse or len(test.body) != 1 or not isinstance(test.body[0], ast.Assign):
        return False
    asked, assigned = test.test, test.body[0].targets
    if not isinstance(asked, ast.Compare) or not isinstance(asked.ops[0], ast.Is) or not isinstance(asked.left, ast.Name):
        return False
    same = asked.left.id == name.id and is_asked_for(tree, asked.left) and len(assigned) == 1 and is_name(assigned[0], name.id)
    return same and name in {asked.left, assigned[0]}


def last_name(node: ast.expr) -> str:
    """``Conv2d`` of ``nn.Conv2d``; empty for what is neither a name nor an attribute."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def left_out_elsewhere(tree: SourceTree, function: FunctionNode, slot: Slot, known: set[ast.Call]) -> bool:
    """Whether the file calls the function without the argument where no layer of this model comes from."""
    found = (node for node in ast.walk(tree.module.tree) if isinstance(node, ast.Call) and node not in known)
    return any(calls(call, function, tree) and given(call, slot).value is None for call in found)
