"""Modes that somebody chose: by a parameter or an option, or in the very function that uses the model."""

from __future__ import annotations

import ast
import re
from functools import partial
from typing import TYPE_CHECKING

from normadvisor.script.judge.surroundings import FUNCTIONS, Surroundings, holds
from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.history import History
    from normadvisor.types import Location

__all__ = ["chosen", "put_back", "switched_around"]

_OPTIONS = re.compile(r"^(args?|opts?|options?|cfg|conf|config|configs|flags|hparams|hps|params|self|settings)$", re.IGNORECASE)
_EVAL_OPTION = re.compile(r"[.]\w*(?<![a-z])eval(_mode)?$")
_STEPS = re.compile(r"\.backward\(|\.step\(|zero_grad\(")


def chosen(event: Event, around: Surroundings) -> bool:
    """Whether an option or a caller out of sight says which mode the model is in."""
    return _on_a_branch(event, around) or _asked_before(event, around)


def _asked_before(event: Event, around: Surroundings) -> bool:
    """Whether an option switches into eval mode, and does nothing else, before the call or before what led to it: ``if opt.eval:``."""
    if event.attributes.get("_switched") is not None:
        return False
    for place in (event.location, *event.attributes["_place"].callers):
        module = around.module(place)
        scope = around.function(place) or (module.tree if module is not None else None)
        if scope is not None and around.known(scope, "asks for eval mode", partial(_first_question, scope)) < place.line:
            return True
    return False


def _first_question(scope: ast.AST) -> float:
    """The first line that asks an option for nothing but eval mode; infinite if there is none."""
    return min((
        node.lineno
        for node in walk(scope)
        if isinstance(node, ast.If) and not node.orelse and _EVAL_OPTION.search(ast.unparse(node.test))
        and all(isinstance(item, ast.Expr) and _switches(item) for item in node.body)
    ), default=float("inf"))  # fmt: skip


def _on_a_branch(event: Event, around: Surroundings) -> bool:
    """Whether the last switch into train mode stands on one branch of a parameter or an option and one into eval mode on the other."""
    switched = event.attributes.get("_switched")
    if switched is None:
        return False
    statements = around.statements(switched.location)
    if not statements:
        return False
    called, function = bool(switched.callers), around.function(switched.location)
    return around.known(statements[-1], f"chosen {called}", lambda: _is_chosen(statements, function, called=called))


def _is_chosen(statements: list[ast.stmt], function: ast.FunctionDef | ast.AsyncFunctionDef | None, *, called: bool) -> bool:
    """The same, of the statements around the switch."""
    call = next((receiver for _, receiver, mode in _switches(statements[-1]) if mode == "train"), None)
    for inner in reversed(statements[:-1]):
        if isinstance(inner, FUNCTIONS | ast.ClassDef):
            break
        if isinstance(inner, ast.If) and call is not None:
            other = inner.orelse if any(item in statements for item in inner.body) else inner.body
            opposite = any(mode == "eval" and receiver == call for item in other for _, receiver, mode in _switches(item))
            return opposite and _is_option(inner.test, function, called=called)
    return False


def _switches(scope: ast.stmt) -> list[tuple[int, str, str]]:
    """Switches in a statement: the line, what is switched, and into which mode; ``?`` if that is not written there."""
    return [
        (node.lineno, ast.unparse(node.func.value), _mode_of(node.func.attr, node))
        for node in walk(scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"train", "eval"}
    ]


def _mode_of(method: str, node: ast.Call) -> str:
    """The mode that a call of ``train`` or ``eval`` asks for."""
    given = node.args[0] if node.args else node.keywords[0].value if node.keywords else None
    if method == "eval" or given is None:
        return method
    return ("train" if given.value else "eval") if isinstance(given, ast.Constant) else "?"


def _is_option(test: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef | None, *, called: bool) -> bool:
    """Whether a condition asks for an option, or for a parameter that no caller in sight gives a value."""
    parameters: set[str] = set()
    if function is not None and not called:
        spec = function.args
        parameters = {item.arg for item in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    for node in walk(test):
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
    if around.mentions(event.location, _STEPS) or around.known(function, "trains", lambda: history.trains_within(span)):
        return False
    end, model = event.location.end_line or event.location.line, event.attributes["model"]
    last: dict[str, int] = around.known(function, "put back", lambda: _put_back_in(function))
    return last.get(model, 0) > end


def _put_back_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, int]:
    """The last line of a function in which a model is put into eval mode, or into one that was kept; by how it is written."""
    found: dict[str, int] = {}
    for line, receiver, mode in _switches(function):
        if mode != "train":
            found[receiver] = max(line, found.get(receiver, 0))
    return found
