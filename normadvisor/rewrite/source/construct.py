"""Changes to how layers are built: another argument, another class, something put around them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from normadvisor.rewrite.source.agreement import Agreement
from normadvisor.rewrite.source.arguments import Addition, Change, Text, edits_of, literal
from normadvisor.rewrite.source.callee import Slot, given, slot_of
from normadvisor.rewrite.source.imports import name_for
from normadvisor.rewrite.source.neighbour import width_in_front
from normadvisor.rewrite.source.place import Refused, WriteContext, place_of
from normadvisor.rewrite.source.replacement import WIDTHS, Replacement
from normadvisor.rewrite.source.steps import Step, Steps
from normadvisor.types import Edit, JSONValue, Location
from normadvisor.types.operation import Operation

__all__ = ["replace_layer", "set_argument", "wrap_layer"]


def set_argument(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Build layers with another value of one argument.

    Raises:
        Refused: it would change another layer, or nobody can tell.

    """
    changes: list[Change] = []
    for argument in dict.fromkeys(operation.argument for operation in operations):
        same = [_of_layer(operation, context) for operation in operations if operation.argument == argument]
        changes += _set_in_layers([operation for operation in same if operation.part.is_layer], argument, context)
        changes += _set_in_calls([operation for operation in same if not operation.part.is_layer], argument, context)
    return edits_of(changes)


def _of_layer(operation: Operation, context: WriteContext) -> Operation:
    """The operation on the layer whose own ``forward`` makes a call, where the layer holds what the call is given.

    So the bias of ``F.conv2d(x, self.weight, self.bias)`` is an argument of the class that is derived from ``Conv2d``.
    """
    part = operation.part
    if part.is_layer or operation.value is not False or operation.argument not in context.module(part.module)._parameters:  # noqa: SLF001
        return operation
    return replace(operation, part=replace(part, is_layer=True))


def _set_in_layers(operations: Sequence[Operation], argument: str, context: WriteContext) -> list[Change]:
    steps = Steps(context, argument)
    changes = _widths_in_front(operations, argument, context) if argument in WIDTHS else None
    if changes is not None:
        return changes
    groups: dict[object, list[Operation]] = {}
    for operation in operations:
        if _is_bias(operation) and getattr(context.module(operation.part.module), argument, operation) is None:
            continue  # Nothing is left to do, whatever expression says so.
        key = (steps.of(operation.part.module)[0].location, literal(operation.value))
        groups.setdefault(key, []).append(operation)
    changes = []
    for group in groups.values():
        first = group[0]
        base = steps.base(first.part.module)
        slot = slot_of(base, argument)
        if slot is None:
            raise Refused(f"`{base.__name__}` takes no argument `{argument}`")
        joined, _ = _with_allies(group, steps, context)
        allies = {name: ally for name in context.graph.modules if (ally := context.ally(first, name)) is not None}
        alike = {operation.part.module for operation in operations if operation.value == first.value} | set(allies)
        agreement = Agreement(context, steps, f"`{argument}`", _constant(first.value), bias=_is_bias(first))
        changes += agreement.write([operation.part.module for operation in joined], slot, alike)
        context.join(allies[name] for name in agreement.reached if name in allies)
    return changes


def _widths_in_front(operations: Sequence[Operation], argument: str, context: WriteContext) -> list[Change] | None:
    """Number of channels as the call in front has it, which is right for all layers of a call though their numbers differ.

    Returns:
        ``None`` if that does not serve every one of the layers.

    """
    wanted = {operation.part.module: operation.value for operation in operations}
    changes: list[Change] = []
    for location in dict.fromkeys(context.frames(name)[0].location for name in wanted):
        built = context.made_at(location)
        if not context.is_own(location.path) or any(not hasattr(context.module(name), argument) for name in built):
            return None
        text = width_in_front(context, {name: wanted.get(name, getattr(context.module(name), argument)) for name in built})
        slot = slot_of(type(context.module(built[0])), argument)
        if text is None or slot is None:
            return None
        tree, call = context.call_at(location)
        found = given(call, slot)
        if found.value is None:
            return None
        changes.append(tree.edit(found.value, text))
    return changes


def _is_bias(operation: Operation) -> bool:
    """Whether a bias is left out: rules do that only where a norm follows."""
    return operation.argument == "bias" and operation.value is False


def _with_allies(group: Sequence[Operation], steps: Steps, context: WriteContext) -> tuple[list[Operation], list[str]]:
    """The operations of layers that one call builds, those of allied fixes included, and the other layers that it builds."""
    names = {operation.part.module for operation in group}
    others = [name for name in steps.beginning_at(group[0].part.module) if name not in names]
    allies = {name: ally for name in others if (ally := context.ally(group[0], name)) is not None}
    context.join(allies.values())
    return [*group, *allies.values()], [name for name in others if name not in allies]


def _set_in_calls(operations: Sequence[Operation], argument: str, context: WriteContext) -> list[Change]:
    """Another argument of functions that ``forward`` calls."""
    changes: list[Change] = []
    wanted = {operation.part.node: operation.value for operation in operations}
    for operation in operations:
        node = context.node(operation.part)
        location = context.call_site(node).location
        tree, call = context.call_at(location)
        others = [item for item in context.called_at(location) if wanted.get(item.name, _Missing) != operation.value]
        if others:
            raise Refused(f"the call at {place_of(location)} runs for other layers as well, such as `{others[0].name}`")
        slot = _slot_of_function(node.target, argument)
        found = given(call, slot)
        if found.hidden:
            raise Refused(f"the call at {place_of(location)} may hold `{argument}` in what it unpacks")
        text = literal(operation.value)
        changes.append(Addition(tree, call, argument, text) if found.value is None else tree.edit(found.value, text))
    return changes


class _Missing:
    """The value of a layer that a fix does not change."""


def _slot_of_function(target: str, argument: str) -> Slot:
    module, _, name = target.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"it is not known how `{target}` takes its arguments") from error
    slot = slot_of(function, argument)
    if slot is None:
        raise Refused(f"`{target}` takes no argument `{argument}`")
    return slot


def _constant(value: JSONValue) -> Text:
    text = literal(value)
    return lambda _tree, _at: (text, [])


def replace_layer(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Build other layers in the place of some.

    Where a call builds nothing else it is written anew; else, and where a library makes it, the class is changed that it is given.

    Raises:
        Refused: it would change another layer, or nobody can tell.

    """
    changes: list[Change] = []
    for step, others, group in _by_call(operations, context):
        if not others and context.is_own(step.location.path):
            changes += Replacement(context, group).in_place(step)
            continue
        try:
            for alike in _by_options(group):
                replacement = Replacement(context, alike)
                changes += Agreement(context, Steps(context), "class", replacement.as_class(step)).write_class(replacement.names)
        except Refused as refused:
            raise Refused(refused.reason + _differing(operations)) from refused
    return edits_of(changes)


def _differing(operations: Sequence[Operation]) -> str:
    """In words, which options of new layers differ, so that one class cannot be handed to all of them; empty if none does."""
    for name in dict.fromkeys(name for operation in operations for name in operation.arguments if name not in WIDTHS):
        values = dict.fromkeys(literal(operation.arguments[name]) for operation in operations if name in operation.arguments)
        if len(values) > 1:
            return f"; its layers need different values of `{name}`: {' and '.join(list(values)[:8])}"
    return ""


def _by_options(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Operations apart whose layers are built with other options than the number of channels, which the call gives."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        options = {name: value for name, value in operation.arguments.items() if name not in WIDTHS}
        groups.setdefault(repr((operation.layer, sorted(options.items()))), []).append(operation)
    return list(groups.values())


def wrap_layer(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Put something around layers where they are built.

    Raises:
        Refused: other layers are built there as well.

    """
    edits: list[Edit] = []
    for step, others, group in _by_call(operations, context):
        where = place_of(step.location)
        if others or not context.is_own(step.location.path) or step.call is None:
            reason = f"also builds `{others[0]}`, to which the fix does not apply" if others else "cannot be edited"
            raise Refused(f"{where} {reason}")
        if any((item.layer, dict(item.arguments)) != (group[0].layer, dict(group[0].arguments)) for item in group):
            raise Refused(f"the layers built at {where} are to be wrapped in different ways")
        name, imports = name_for(group[0].layer, step.tree, step.call)
        more = "".join(f", {key}={literal(value)}" for key, value in group[0].arguments.items())
        edits += [step.tree.insertion(step.call, f"{name}("), step.tree.insertion(step.call, f"{more})", after=True), *imports]
    return list(dict.fromkeys(edits))


def _by_call(operations: Sequence[Operation], context: WriteContext) -> Iterator[tuple[Step, list[str], list[Operation]]]:
    """Operations by the innermost call that builds their layers, and the other layers that it builds."""
    steps = Steps(context)
    groups: dict[Location, list[Operation]] = {}
    for operation in operations:
        if not operation.part.is_layer:
            raise Refused(f"`{operation.part.node}` is a function that is called, not a layer that is built")
        groups.setdefault(steps.of(operation.part.module)[0].location, []).append(operation)
    for group in groups.values():
        joined, others = _with_allies(group, steps, context)
        yield steps.of(group[0].part.module)[0], others, joined
