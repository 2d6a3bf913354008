"""Edits that hand the logits to a loss which applies the activation itself."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.anchors import FUNCTIONS, around, expression_at, imported_as, place_in, removed, replaced
from normadvisor.script.library.syntax import argument
from normadvisor.types import Edit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types import Location

__all__ = ["remove_activation"]

_LAYERS = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"})
_ACTIVATIONS = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid"}) | _LAYERS


def remove_activation(event: Event, module: SourceModule) -> list[Edit | None]:
    """Take the activation before a loss out, where it is called or where its layer is built.

    Args:
        event: the call of the loss; its place ``activation`` is where the activation is applied or built.
        module: the file of the event.

    Returns:
        Nothing where the value is needed elsewhere, or where the source does not show what to take out.

    """
    call = expression_at(module, event.location)
    given = argument(call, 0, "input") if isinstance(call, ast.Call) else None
    found = _activation_input(given)
    if found is not None:
        return [_replaced_activation(event, module, *found)]
    place = place_in(event, module, "activation")
    applied = expression_at(module, place) if place is not None else None
    through_model = event.attributes.get("through_model")
    if through_model and isinstance(applied, ast.Call) and _last(applied.func) in _LAYERS:
        return _without_layer(event, module, applied)
    found = _activation_input(applied)
    if found is None or place is None:
        return []
    if through_model:
        return [_replaced_activation(event, module, *found)]
    return _around_name(event, module, given, place, found) if isinstance(given, ast.Name) else []


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _activation_input(node: ast.AST | None) -> tuple[ast.Call, ast.expr] | None:
    """The call of an activation and what goes into it: ``F.softmax(x, 1)``, ``x.softmax(1)``, ``nn.Softmax(1)(x)``, ``self.softmax(x)``."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Call):
        return (node, node.args[0]) if _last(node.func.func) in _ACTIVATIONS and node.args else None
    name = _last(node.func)
    if name.lstrip("_") not in _ACTIVATIONS or name in _LAYERS:
        return None
    if isinstance(node.func, ast.Attribute) and not _is_namespace(node.func.value):
        owner = ast.unparse(node.func.value)
        if owner != "self":
            return (node, node.func.value)
    given = argument(node, 0, "input")
    return (node, given) if given is not None else None


def _is_namespace(node: ast.expr) -> bool:
    return ast.unparse(node) in {"F", "torch", "nn.functional", "torch.nn.functional", "functional", "torch.special", "nn.F", "tF"}


def _replaced_activation(event: Event, module: SourceModule, call: ast.Call, given: ast.expr) -> Edit | None:
    """The input without the activation; before the negative log-likelihood, log-softmax instead of softmax."""
    if event.attributes.get("loss") == "nll":
        return _log_softmax(module, call)
    return replaced(module, call, _input_text(module, given))


def _input_text(module: SourceModule, given: ast.expr) -> str:
    text = module.segment(given)
    return text if isinstance(given, ast.Name | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"


def _log_softmax(module: SourceModule, call: ast.Call) -> Edit | None:
    text = module.segment(call)
    for old, new in (("Softmax(", "LogSoftmax("), ("softmax(", "log_softmax(")):
        if text.count(old) == 1 and f"log_{old}" not in text and f"Log{old}" not in text:
            return replaced(module, call, text.replace(old, new))
    return None


def _around_name(
    event: Event, module: SourceModule, given: ast.Name, place: Location, found: tuple[ast.Call, ast.expr]
) -> list[Edit | None]:
    """``probabilities = F.softmax(logits, 1)`` before ``criterion(probabilities, y)``: the loss gets ``logits``."""
    here, there = around(module, event.location), around(module, place)
    assignment = there[-1] if there else None
    if not here or not there or (here[0] is not there[0] and (isinstance(here[0], FUNCTIONS) or isinstance(there[0], FUNCTIONS))):
        return []
    if not isinstance(assignment, ast.Assign) or assignment.value is not found[0] or ast.unparse(assignment.targets[0]) != given.id:
        return []
    if event.attributes.get("loss") == "nll":
        return [_replaced_activation(event, module, *found)]
    scope: ast.AST = here[0] if isinstance(here[0], FUNCTIONS) else module.tree
    names = [node for node in ast.walk(scope) if isinstance(node, ast.Name)]
    if isinstance(found[1], ast.Name) and found[1].id != given.id:
        between = range(assignment.lineno + 1, given.lineno)
        if not any(node.id == found[1].id and isinstance(node.ctx, ast.Store) and node.lineno in between for node in names):
            return [replaced(module, given, found[1].id)]
        return []
    later = [node for node in names if node.id == given.id and isinstance(node.ctx, ast.Load) and node.lineno > assignment.lineno]
    return [_replaced_activation(event, module, *found)] if later == [given] else []


def _without_layer(event: Event, module: SourceModule, built: ast.Call) -> list[Edit | None]:
    """The layer taken out of the model: with its attribute and the call of it, or out of its sequence."""
    if event.attributes.get("loss") == "nll":
        return [_log_softmax(module, built)] if _last(built.func) == "Softmax" else []
    statement = around(module, module.location(built))[-1]
    if isinstance(statement, ast.Assign) and statement.value is built:
        target = statement.targets[0]
        is_attribute = len(statement.targets) == 1 and isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)
        return _without_attribute(module, statement, target) if is_attribute and isinstance(target, ast.Attribute) else []
    parent = next((node for node in ast.walk(module.tree) if built in ast.iter_child_nodes(node)), None)
    if isinstance(parent, ast.Call) and _last(parent.func).endswith("Sequential") and len(parent.args) > 1 and parent.args[-1] is built:
        edit = _last_taken_out(module, parent, built)
        if edit is not None:
            return [edit]
    return [_identity(module, built)] if isinstance(parent, ast.Call | ast.List | ast.Tuple) else []


def _without_attribute(module: SourceModule, statement: ast.Assign, target: ast.Attribute) -> list[Edit | None]:
    """``self.softmax = nn.Softmax(dim=1)`` and the one call ``self.softmax(x)``; nothing if the layer is named anywhere else."""
    named = list(_mentions(module, target))
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and any(node.func is item for item in named)]
    if len(named) != 1 or len(calls) != 1 or len(calls[0].args) != 1 or calls[0].keywords or isinstance(calls[0].args[0], ast.Starred):
        return []
    call, given = calls[0], calls[0].args[0]
    user = around(module, module.location(call))[-1]
    idle = isinstance(user, ast.Assign) and user.value is call and [ast.unparse(item) for item in user.targets] == [ast.unparse(given)]
    gone = removed(module, user) if idle else None
    bare = isinstance(user, ast.Return | ast.Assign) and user.value is call and "\n" not in module.segment(given)
    unwrapped = gone or replaced(module, call, module.segment(given) if bare else _input_text(module, given))
    building = removed(module, statement)
    if building is None:
        assert isinstance(statement.value, ast.Call)  # noqa: S101 - the caller has looked
        building = _identity(module, statement.value)
        return [building] if building is not None else []
    return [building, unwrapped]


def _mentions(module: SourceModule, target: ast.Attribute) -> Iterator[ast.AST]:
    """Where a layer is named: as an attribute in its class and those derived from it, as one of a model, or in a string."""
    classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    own = {node.name for node in classes if any(item is target for item in ast.walk(node))}
    while more := {node.name for node in classes if any(_last(base) in own for base in node.bases)} - own:
        own |= more
    inside = {id(item) for node in classes if node.name in own for item in ast.walk(node)}
    first = ast.unparse(target.value)
    called = {id(node.func): node for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value == target.attr:
            yield node
        if not isinstance(node, ast.Attribute) or node.attr != target.attr or node is target:
            continue
        if isinstance(node.value, ast.Name) and node.value.id == first:
            if id(node) in inside:
                yield node
        elif not _is_namespace(node.value) and not _is_method(called.get(id(node))):
            yield node


def _is_method(call: ast.Call | None) -> bool:
    """Whether a call is that of a tensor's own method, ``x.softmax(1)``, which takes no tensor."""
    return call is not None and all(isinstance(item, ast.Constant | ast.UnaryOp) for item in call.args)


def _last_taken_out(module: SourceModule, parent: ast.Call, built: ast.Call) -> Edit | None:
    """The last layer of a sequence taken out, with its lines if it has them for itself; ``None`` where a comment would be lost."""
    place, before = module.location(built), module.location(parent.args[-2])
    end_line, end_column = place.end_line or place.line, place.end_column or place.column
    head = module.lines[place.line - 1][: place.column - 1]
    rest = module.lines[end_line - 1][end_column - 1 :].strip()
    if not head.strip() and (rest in {"", ","} or rest.lstrip(",").lstrip().startswith("#")):
        return Edit(module.path, place.line, 1, end_line + 1, 1, "")
    start_line, start_column = before.end_line or before.line, before.end_column or before.column
    between = [*module.lines[start_line - 1 : place.line]]
    between[-1] = between[-1][: place.column - 1]
    between[0] = between[0][start_column - 1 :]
    if "#" in "".join(between) or ")" in "".join(between):
        return None
    return Edit(module.path, start_line, start_column, end_line, end_column, "")


def _identity(module: SourceModule, built: ast.Call) -> Edit | None:
    """``nn.Identity()`` in the place of a layer; ``None`` if the file has no name for it."""
    func = built.func
    name = f"{module.segment(func.value)}.Identity" if isinstance(func, ast.Attribute) else imported_as(module, "torch.nn.Identity")
    return replaced(module, built, f"{name}()") if name is not None else None
