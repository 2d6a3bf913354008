"""Changes to how layers are built: another argument, another class, something put around them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from normadvisor.rewrite.source.agreement import Agreement
from normadvisor.rewrite.source.arguments import Addition, Change, edits_of, literal
from normadvisor.rewrite.source.callee import Slot, given, slot_of
from normadvisor.rewrite.source.place import Refused, WriteContext, place_of
from normadvisor.rewrite.source.steps import Steps
from normadvisor.types import Edit
from normadvisor.types.operation import Operation

__all__ = ["replace_layer", "set_argument", "wrap_layer"]


def set_argument(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Build layers with another value of one argument.

    Raises:
        Refused: it would change another layer, or nobody can tell.

    """
    changes: list[Change] = []
    for argument in dict.fromkeys(operation.argument for operation in operations):
        same = [operation for operation in operations if operation.argument == argument]
        changes += _set_in_layers([operation for operation in same if operation.part.is_layer], argument, context)
        changes += _set_in_calls([operation for operation in same if not operation.part.is_layer], argument, context)
    return edits_of(changes)


def _set_in_layers(operations: Sequence[Operation], argument: str, context: WriteContext) -> list[Change]:
    steps = Steps(context, argument)
    values = {operation.part.module: operation.value for operation in operations}
    groups: dict[object, list[str]] = {}
    for name, value in values.items():
        groups.setdefault((steps.of(name)[0].location, literal(value)), []).append(name)
    changes: list[Change] = []
    for names in groups.values():
        base = steps.base(names[0])
        slot = slot_of(base, argument)
        if slot is None:
            raise Refused(f"`{base.__name__}` takes no argument `{argument}`")
        changes += Agreement(context, steps, argument, values[names[0]]).write(names, slot)
    return changes


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


def replace_layer(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Build other layers in the place of some.

    Raises:
        Refused: it would change another layer, or nobody can tell.

    """
    raise Refused("not yet")


def wrap_layer(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Put something around layers where they are built.

    Raises:
        Refused: other layers are built there as well.

    """
    raise Refused("not yet")
