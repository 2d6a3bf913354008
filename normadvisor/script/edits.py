"""Edits of scripts: what the fix of a script rule changes in the source, described as text spans.

An edit is offered only where it can be made textually: on whole lines, in the indentation of what stands there, with a result that parses.
Where a name, a block or a call does not allow it, there is no edit and the fix stays in words.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.script.activations import remove_activation
from normadvisor.script.anchors import (
    FUNCTIONS,
    LOOPS,
    added_keyword,
    after,
    applied,
    around,
    before,
    calls_named,
    expression_at,
    imported_as,
    known_names,
    place_in,
    removed,
    replaced,
    root_name,
)
from normadvisor.script.library.syntax import argument

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types import Edit

__all__ = ["edits_for"]

_Loop: TypeAlias = ast.For | ast.While | ast.AsyncFor
_BACKWARD = ("backward", "manual_backward")
_FREE_NAMES = ("module", "layer", "submodule", "norm_layer")


def edits_for(action: str, event: Event, module: SourceModule) -> tuple[Edit, ...]:
    """The edits that an action of a fix makes to the file of an event; none where it cannot be done safely.

    Args:
        action: a name of :data:`normadvisor.types.events.EDITS`.
        event: what the finding is about.
        module: the file that holds the event.

    Returns:
        Edits that do not overlap; the file parses after them. Those of a notebook are all within cells.

    """
    make = _ACTIONS.get(action)
    if make is None:
        return ()
    notebook = module.cells.notebook if module.cells is not None else None
    if notebook is not None:
        from normadvisor.script.notebook_edits import as_one_file, in_cells  # noqa: PLC0415 - most files are no notebooks

        flat = as_one_file(event, module, notebook)
        return () if flat is None else in_cells(_made(make, *flat), flat[1], notebook)
    return _made(make, event, module)


def _made(make: Callable[[Event, SourceModule], list[Edit | None]], event: Event, module: SourceModule) -> tuple[Edit, ...]:
    edits = tuple(edit for edit in make(event, module) if edit is not None)
    return edits if edits and _parses(applied(module.text, edits)) else ()


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _model(event: Event, module: SourceModule, scope: ast.stmt | None) -> str | None:
    """The model as it can be written in a function; ``None`` if it has no name there."""
    text = event.attributes.get("model")
    root = root_name(text) if isinstance(text, str) else None
    if root is None or root not in known_names(module, scope if isinstance(scope, FUNCTIONS) else None):
        return None
    return str(text)


def _binds(statement: ast.AST, text: str) -> bool:
    """Whether a statement binds a model, or what it is an attribute of."""
    root = root_name(text)
    for node in ast.walk(statement):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node) in {text, root}:
            return True
    return False


def _trains(node: ast.AST) -> bool:
    return next(calls_named(node, *_BACKWARD), None) is not None


def _insert_eval(event: Event, module: SourceModule) -> list[Edit | None]:
    statements = around(module, event.location)
    scope = statements[0] if statements else None
    text = _model(event, module, scope)
    if text is None or not statements:
        return []
    inner = [item for item in statements if not isinstance(item, FUNCTIONS | ast.ClassDef)]
    anchor = _widest(inner, text)
    if anchor is None:
        return []
    head = before(module, anchor, f"{text}.eval()")
    if head is None:
        return []
    if not _goes_on(event, module, inner, anchor):
        return [head]
    if isinstance(anchor, ast.Return) or any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for node in ast.walk(anchor)):
        return []  # train() after it would not be reached
    tail = after(module, anchor, f"{text}.train()")
    return [head, tail] if tail is not None else []


def _widest(inner: list[ast.stmt], text: str) -> ast.stmt | None:
    """The outermost ``with`` or loop around the call in which nothing trains and the model is not built; else its own statement."""
    if not inner:
        return None
    anchor = inner[-1]
    for statement in reversed(inner[:-1]):
        if not isinstance(statement, ast.With | ast.AsyncWith | LOOPS) or _trains(statement) or _binds(statement, text):
            break
        anchor = statement
    return anchor


def _goes_on(event: Event, module: SourceModule, inner: list[ast.stmt], anchor: ast.stmt) -> bool:
    """Whether training goes on after a statement: in a loop around it, further down, or where its function was called from."""
    outside = inner[: next(index for index, item in enumerate(inner) if item is anchor)]
    if any(isinstance(item, LOOPS) and _trains(item) for item in outside):
        return True
    statements = around(module, event.location)
    scope: ast.AST = statements[0] if statements and isinstance(statements[0], FUNCTIONS) else module.tree
    later = (node for node in calls_named(scope, *_BACKWARD) if node.lineno > (anchor.end_lineno or anchor.lineno))
    if next(later, None) is not None:
        return True
    callers = [place for name in ("called_from",) if (place := place_in(event, module, name)) is not None]
    callers += [place for place in event.attributes.get("_callers", ()) if place.path == module.path and place not in callers]
    return _trains(module.tree) and any(isinstance(item, LOOPS) for place in callers for item in around(module, place))


def _insert_train(event: Event, module: SourceModule) -> list[Edit | None]:
    statements = around(module, event.location)
    scope = statements[0] if statements else None
    text = _model(event, module, scope)
    if text is None or not statements:
        return []
    loops = [item for item in statements if isinstance(item, LOOPS)]
    line = f"{text}.train()"
    if not loops:
        if not isinstance(scope, FUNCTIONS):
            return [before(module, statements[-1], line)]
        body = scope.body[1:] if ast.get_docstring(scope) is not None and len(scope.body) > 1 else scope.body
        return [before(module, body[0], line)] if not _binds(scope, text) else []
    loop = _epoch(loops, event, module)
    if loop is None:
        first = loops[0]
        return [before(module, first, line)] if not _binds(first, text) else []
    return [before(module, loop.body[0], line)] if not _binds(loop, text) else []


def _epoch(loops: list[_Loop], event: Event, module: SourceModule) -> _Loop | None:
    """The loop at whose beginning train mode has to be set again; ``None`` if once before all loops will do."""
    switches = [place for name in ("switch", "called_from") if (place := place_in(event, module, name)) is not None]
    inside = [loop for loop in loops if any(loop in around(module, place) for place in switches)]
    if inside:
        return inside[-1]
    if not event.attributes.get("after_evaluation"):
        return None
    # The evaluation is reached through a call: of the loops around, that over epochs is the innermost but one.
    return loops[-2] if len(loops) > 1 else loops[-1]


def _remove_switch(event: Event, module: SourceModule) -> list[Edit | None]:
    place = place_in(event, module, "switch") or event.location
    statements = around(module, place)
    last = statements[-1] if statements else None
    return [removed(module, last)] if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) else []


def _switch_exported(event: Event, module: SourceModule) -> list[Edit | None]:
    statements = around(module, event.location)
    text = _model(event, module, statements[0] if statements else None)
    if text is None or not statements:
        return []
    last = statements[-1]
    head = before(module, last, f"{text}.eval()")
    trains = any(isinstance(item, LOOPS) and _trains(item) for item in statements)
    if not trains:
        return [head]
    tail = after(module, last, f"{text}.train()") if not isinstance(last, ast.Return) else None
    return [head, tail] if head is not None and tail is not None else []


def _refreeze(event: Event, module: SourceModule) -> list[Edit | None]:
    place = place_in(event, module, "undone") or place_in(event, module, "switch")
    statements = around(module, place) if place is not None else []
    last = statements[-1] if statements else None
    base = imported_as(module, "torch.nn.modules.batchnorm._BatchNorm")
    call = last.value if isinstance(last, ast.Expr) else None
    if last is None or base is None or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return []
    if call.func.attr != "train" or event.attributes.get("frozen_parameters") == "some":
        return []
    used = known_names(module, None)
    name = next((item for item in _FREE_NAMES if item not in used), None)
    if name is None:
        return []
    unit = "\t" if module.lines[last.lineno - 1].startswith("\t") else "    "
    text = ast.unparse(call.func.value)
    lines = f"for {name} in {text}.modules():\n{unit}if isinstance({name}, {base}):\n{unit}{unit}{name}.eval()"
    return [after(module, last, lines)]


def _drop_last(event: Event, module: SourceModule) -> list[Edit | None]:
    if event.attributes.get("batch_size") == 1:
        return []  # every batch holds one sample, not just the last
    place = place_in(event, module, "loader")
    call = expression_at(module, place) if place is not None else None
    if not isinstance(call, ast.Call) or any(isinstance(item, ast.Starred) for item in call.args):
        return []
    given = argument(call, 8, "drop_last")
    if given is not None:
        return [replaced(module, given, "True")] if isinstance(given, ast.Constant) and given.value is False else []
    return [added_keyword(module, call, "drop_last=True")]


def _convert_sync(event: Event, module: SourceModule) -> list[Edit | None]:
    call = expression_at(module, event.location)
    given = argument(call, 0, "module") if isinstance(call, ast.Call) else None
    function = imported_as(module, "torch.nn.SyncBatchNorm.convert_sync_batchnorm")
    if given is None or function is None:
        return []
    edits: list[Edit | None] = [replaced(module, given, f"{function}({module.segment(given)})")]
    if event.attributes.get("converted_after"):
        place = place_in(event, module, "switch")
        later = around(module, place)[-1] if place is not None else None
        gone = removed(module, later) if isinstance(later, ast.Assign) and _only_converts(later) else None
        return [*edits, gone] if gone is not None else []
    return edits


def _only_converts(statement: ast.Assign) -> bool:
    """``model = nn.SyncBatchNorm.convert_sync_batchnorm(model)``."""
    value = statement.value
    return isinstance(value, ast.Call) and bool(value.args) and ast.unparse(statement.targets[0]) == ast.unparse(value.args[0])


def _pass_training(event: Event, module: SourceModule) -> list[Edit | None]:
    call = expression_at(module, event.location)
    function = next((item for item in around(module, event.location)[:1] if isinstance(item, FUNCTIONS)), None)
    first = function.args.args[0].arg if function is not None and function.args.args else ""
    if not isinstance(call, ast.Call) or isinstance(call.func, ast.Call) or not event.attributes.get("in_module") or first != "self":
        return []
    if any(isinstance(item, ast.Starred) for item in call.args):
        return []
    given = argument(call, 2, "training")
    if given is not None:
        return [replaced(module, given, "self.training")] if isinstance(given, ast.Constant) else []
    return [added_keyword(module, call, "training=self.training")]


_ACTIONS: dict[str, Callable[[Event, SourceModule], list[Edit | None]]] = {
    "insert_eval": _insert_eval,
    "insert_train": _insert_train,
    "remove_switch": _remove_switch,
    "switch_exported": _switch_exported,
    "refreeze": _refreeze,
    "drop_last": _drop_last,
    "convert_sync": _convert_sync,
    "remove_activation": remove_activation,
    "pass_training": _pass_training,
}
