"""Gradient accumulation: a step that is taken only every so many backward passes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from normadvisor.script.library.syntax import enclosing_statements, module_of, parsed, receiver_text
from normadvisor.script.values import Place

if TYPE_CHECKING:
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.script.protocol import Machine

__all__ = ["accumulation_at"]

_LOOPS = ast.For | ast.While | ast.AsyncFor
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def accumulation_at(machine: Machine, place: Place) -> tuple[bool, int | None, bool]:
    """Whether gradients of several batches are added up before a step; how many; and whether that number is only an option's default."""
    module = module_of(machine, place)
    if module is None:
        return False, None, False
    around = enclosing_statements(module, place.location)
    inner = _innermost(around)
    for index, statement in enumerate(inner):
        if isinstance(statement, ast.With | ast.AsyncWith) and _accumulates(statement):
            return True, *_accelerator_steps(module)
        if not isinstance(statement, ast.If):
            continue
        loop = next((item for item in reversed(inner[:index]) if isinstance(item, _LOOPS)), None)
        period = _period(statement.test)
        if period is None and loop is not None:
            period = _counted(statement, loop)
        if loop is None or period is None or not _branch_of(statement, around):
            continue
        if _adds_up(loop, statement, place):
            return True, *_literal(period, module, around)
    return False, None, False


def _innermost(around: list[ast.stmt]) -> list[ast.stmt]:
    """The statements within the innermost function."""
    start = max((index + 1 for index, item in enumerate(around) if isinstance(item, _FUNCTIONS)), default=0)
    return around[start:]


def _branch_of(statement: ast.If, around: list[ast.stmt]) -> bool:
    """Whether the place is in the branch that the condition leads to."""
    return any(item is inner for item in statement.body for inner in around)


def _accumulates(statement: ast.With | ast.AsyncWith) -> bool:
    return any(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr == "accumulate"
        for item in statement.items
    )


def _period(test: ast.expr) -> ast.expr | None:
    """``n`` of ``(i + 1) % n == 0``, also as one of several conditions."""
    if isinstance(test, ast.BoolOp):
        return next((found for item in test.values if (found := _period(item)) is not None), None)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand.right if isinstance(test.operand, ast.BinOp) and isinstance(test.operand.op, ast.Mod) else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        left = test.left
        if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mod):
            return left.right
    return None


def _counted(statement: ast.If, loop: ast.stmt) -> ast.expr | None:
    """``n`` of ``counter == n`` where the loop counts the counter up and the branch sets it back."""
    test = statement.test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.GtE)):
        return None
    if not isinstance(test.left, ast.Name):
        return None
    name = test.left.id
    up = any(isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name for node in ast.walk(loop))
    back = any(
        isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        for item in statement.body
        for node in ast.walk(item)
    )
    return test.comparators[0] if up and back else None


def _calls(node: ast.AST, name: str) -> Iterator[ast.Call]:
    for item in ast.walk(node):
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr == name:
            yield item


def _backward_in(node: ast.AST) -> bool:
    return any(True for name in ("backward", "manual_backward") for _ in _calls(node, name))


def _adds_up(loop: ast.stmt, branch: ast.If, place: Place) -> bool:
    """Whether each round of the loop adds gradients and only the branch clears them."""
    if any(_backward_in(item) for item in branch.body):
        return False  # every n-th batch trains another network
    if not _backward_in(loop):
        return False
    optimizer = _optimizer_text(place)
    for call in _calls(loop, "zero_grad"):
        inside = any(call is item for statement in (*branch.body, *branch.orelse) for item in ast.walk(statement))
        if not inside and isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == optimizer and not _guarded(loop, call):
            return False
    return True


def _guarded(loop: ast.stmt, call: ast.Call) -> bool:
    """Whether a call is under a condition of its own."""
    return any(isinstance(item, ast.If) and any(inner is call for inner in ast.walk(item)) for item in ast.walk(loop))


def _optimizer_text(place: Place) -> str:
    """The optimizer as written: of ``scaler.step(optimizer)`` too."""
    call = parsed(place.text)
    if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Name | ast.Attribute):
        return ast.unparse(call.args[0])
    return receiver_text(place)


def _literal(node: ast.expr, module: SourceModule, around: list[ast.stmt]) -> tuple[int | None, bool]:
    """A whole number: a literal, a name bound once to one, or the default of a command line option."""
    if isinstance(node, ast.Constant):
        return (node.value, False) if type(node.value) is int else (None, False)
    if isinstance(node, ast.Name):
        function = next((item for item in reversed(around) if isinstance(item, _FUNCTIONS)), None)
        if function is not None:
            for parameter, default in zip(reversed(function.args.args), reversed(function.args.defaults), strict=False):
                if parameter.arg == node.id and isinstance(default, ast.Constant) and type(default.value) is int:
                    return default.value, True
        for scope in (function, module.tree):
            values = [
                item.value
                for item in (ast.walk(scope) if scope is not None else ())
                if isinstance(item, ast.Assign) and any(isinstance(target, ast.Name) and target.id == node.id for target in item.targets)
            ]
            if values:
                return _literal(values[0], module, around) if len(values) == 1 and not isinstance(values[0], ast.Name) else (None, False)
        return None, False
    if isinstance(node, ast.Attribute):
        return _option_default(node.attr, module), True
    return None, False


def _option_default(name: str, module: SourceModule) -> int | None:
    """The default of a command line option of the module."""
    for call in _calls(module.tree, "add_argument"):
        flags = [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        names = [flag.lstrip("-").replace("-", "_") for flag in flags]
        if name in names:
            found = next((item.value for item in call.keywords if item.arg == "default"), None)
            return found.value if isinstance(found, ast.Constant) and type(found.value) is int else None
    return None


def _accelerator_steps(module: SourceModule) -> tuple[int | None, bool]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and node.arg == "gradient_accumulation_steps":
            return _literal(node.value, module, [])
    return None, False
