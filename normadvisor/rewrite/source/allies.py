"""Layers that other fixes change in the same way, where one call builds or runs them together with those of a fix."""

from __future__ import annotations

from collections.abc import Sequence

from normadvisor.rewrite.source.place import Refused, WriteContext
from normadvisor.types import Location
from normadvisor.types.operation import Operation

__all__ = ["with_allies"]


def with_allies(operations: Sequence[Operation], context: WriteContext) -> list[Operation]:
    """The operations of a fix, and the allied ones whose layers share a call or a constructor with them, directly or by others.

    Args:
        operations: of one kind.
        context: the model; it notes which allied operations take part.

    """
    found = list(operations)
    waiting = [(ally, _places(ally, context)) for ally in context.allies(operations[0].kind) if ally not in found]
    places = {place for operation in found for place in _places(operation, context)} if waiting else set()
    while joining := [(ally, own) for ally, own in waiting if own & places]:
        found += [ally for ally, _ in joining if ally not in found]
        places.update(*(own for _, own in joining))
        waiting = [(ally, own) for ally, own in waiting if ally not in found]
    context.join(found[len(operations) :])
    return found


def _places(operation: Operation, context: WriteContext) -> set[Location]:
    """Where the layers of an operation are built and called, as far as that is known."""
    found: set[Location] = set()
    for part in (operation.part, operation.other):
        if part is None:
            continue
        try:
            if part.is_layer:
                found.add(context.construction(part.module).location)
            if part.node:
                found.add(context.call_site(context.node(part)).location)
        except Refused:
            continue
    return found
