"""Modes that somebody chose: by a parameter or an option, or in the very function that uses the model."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.judge.surroundings import FUNCTIONS, Surroundings, holds

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.history import History
    from normadvisor.types import Location

__all__ = ["chosen", "put_back", "switched_around"]

_OPTIONS = re.compile(r"^(args?|opts?|options?|cfg|conf|config|configs|flags|hparams|hps|params|self|settings)$", re.IGNORECASE)
_STEPS = re.compile(r"\.backward\(|\.step\(|zero_grad\(")


def chosen(event: Event, around: Surroundings) -> bool:
    """Whether the last switch into train mode stands on one branch of a parameter or an option and one into eval mode on the other."""
    switched = event.attributes.get("_switched")
    if switched is None:
        return False
    statements = around.statements(switched.location)
    call = _switch_in(statements[-1], "train") if statements else None
    function = around.function(switched.location)
    for outer in reversed(statements[:-1]):
        if isinstance(outer, FUNCTIONS | ast.ClassDef):
            break
        if isinstance(outer, ast.If) and call is not None:
            other = outer.orelse if any(item in statements for item in outer.body) else outer.body
            opposite = any(ast.unparse(found) == ast.unparse(call) for found in _switches(other, "eval"))
            return opposite and _is_option(outer.test, function, known=bool(switched.callers))
    return False


def _switch_in(statement: ast.stmt, name: str) -> ast.expr | None:
    """What a statement switches: ``model`` of ``model.train()``."""
    return next(iter(_switches([statement], name)), None)


def _switches(statements: list[ast.stmt], name: str) -> list[ast.expr]:
    """What statements switch into a mode."""
    return [
        node.func.value
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _mode_of(node.func.attr, node) == name
    ]


def _mode_of(method: str, node: ast.Call) -> str:
    """The mode that a call of ``train`` or ``eval`` asks for; its name for anything else."""
    given = node.args[0] if node.args else node.keywords[0].value if node.keywords else None
    if method == "train" and isinstance(given, ast.Constant):
        return "train" if given.value else "eval"
    return method


def _is_option(test: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef | None, *, known: bool) -> bool:
    """Whether a condition asks for an option, or for a parameter that no caller in sight gives a value."""
    parameters: set[str] = set()
    if function is not None and not known:
        spec = function.args
        parameters = {item.arg for item in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    for node in ast.walk(test):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and _OPTIONS.match(node.value.id):
            return True
        if isinstance(node, ast.Name) and node.id in parameters:
            return True
    return False


def switched_around(event: Event, around: Surroundings) -> bool:
    """Whether the model was put into train mode in the function that calls it, by itself or by a function that it calls."""
    return _switch_within(event, _function_span(event, around))


def _function_span(event: Event, around: Surroundings) -> Location | None:
    function = around.function(event.location)
    return around.span(function, event.location) if function is not None else None


def _switch_within(event: Event, span: Location | None) -> bool:
    switched = event.attributes.get("_switched")
    if switched is None:
        return False
    if span is None:
        return bool(switched.function == event.attributes["function"] and switched.location.path == event.location.path)
    return any(holds(span, place) for place in (switched.location, *switched.callers))


def put_back(event: Event, history: History, around: Surroundings) -> bool:
    """Whether the function around switches into train mode before the call and back after it, and trains nothing."""
    span = _function_span(event, around)
    function = around.function(event.location)
    if span is None or function is None or not _switch_within(event, span):
        return False
    if _STEPS.search(around.text(event.location)) or history.trains_within(span):
        return False
    end, model = event.location.end_line or event.location.line, event.attributes["model"]
    return any(
        node.lineno > end and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and _puts_back(node, node.func.attr) and ast.unparse(node.func.value) == model
        for node in ast.walk(function) if isinstance(node, ast.expr)
    )  # fmt: skip


def _puts_back(node: ast.Call, method: str) -> bool:
    """``model.eval()``, or ``model.train(before)``."""
    return _mode_of(method, node) == "eval" or (method == "train" and bool(node.args) and not isinstance(node.args[0], ast.Constant))
