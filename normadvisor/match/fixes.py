"""From what a rule says about mending to operations on the layers of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from normadvisor.graph.model import NodeInfo
from normadvisor.match.compiled_fix import CompiledChange, CompiledFix, distinct
from normadvisor.match.places import Places
from normadvisor.match.values import item_of, items_of, json_value
from normadvisor.match.views import ModuleView, NodeView
from normadvisor.types import Fix, JSONValue, Operation, OperationKind, Part
from normadvisor.types.groups import shared_group_count

__all__ = ["FixMaker"]

Scope = Mapping[str, Any]
_VIA = "via"
_GROUPS = "num_groups"
_OF_CONSTRUCTION = frozenset({
    OperationKind.SET_ARGUMENT, OperationKind.REPLACE_LAYER, OperationKind.WRAP_LAYER, OperationKind.SEPARATE_LAYERS,
})  # fmt: skip
"""What is done to a layer once, however often it runs; the others are done to a call."""


@dataclass(slots=True)
class _Made:
    """An operation and the line that builds or calls what it changes."""

    operation: Operation
    place: object


class _NotOfferedError(Exception):
    """Something that a change needs is unknown in this model."""


class FixMaker:
    """Makes the fixes of the findings of one rule on one graph."""

    def __init__(self, fixes: Sequence[CompiledFix], places: Places) -> None:
        self._fixes = fixes
        self._places = places

    def fixes(self, lead: Scope, scopes: Sequence[Scope]) -> list[Fix]:
        """Every fix that can be offered, the default one first.

        Args:
            lead: names of the match that speaks for the finding; the words are about it.
            scopes: names of all matches of the finding; the operations mend them all.

        """
        offered = (self._fix(fix, lead, scopes) for fix in self._fixes if fix.offered(scopes))
        return distinct([fix for fix in offered if fix is not None])

    def _fix(self, fix: CompiledFix, lead: Scope, scopes: Sequence[Scope]) -> Fix | None:
        """One fix; ``None`` where it names or needs what this model does not have."""
        try:
            operations = self._operations(fix, scopes)
        except _NotOfferedError:
            return None
        if fix.changes and not operations:
            return None
        return replace(fix.worded(lead), operations=operations)

    def _operations(self, fix: CompiledFix, scopes: Sequence[Scope]) -> tuple[Operation, ...]:
        found: dict[object, _Made] = {}
        for scope in scopes:
            for change in fix.changes:
                for made in self._changed(change, scope):
                    known = found.setdefault(_identity(made.operation), made)
                    if _does(known.operation) != _does(made.operation):
                        raise _NotOfferedError  # One layer cannot be two.
        _share_groups(list(found.values()))
        return tuple(made.operation for made in found.values())

    def _changed(self, change: CompiledChange, scope: Scope) -> list[_Made]:
        """What one change means for one match."""
        items = items_of(scope.get(change.of))
        if not items and (change.when is None or change.when({**scope, _VIA: None})):
            raise _NotOfferedError
        made = []
        for view in items:
            seen = {**scope, _VIA: view}
            if change.when is None or change.when(seen):
                item = item_of(view)
                place = self._places.of(item) if item is not None else None
                made.append(_Made(self._operation(change, view, scope), place.frame.location if place else None))
        return made

    def _operation(self, change: CompiledChange, view: NodeView | ModuleView, scope: Scope) -> Operation:
        layer = change.layer.known(scope) if change.layer else ""
        value = json_value(change.value(scope)) if change.value else None
        if layer is None or (change.value is not None and value is None and change.value.text.strip() != "None"):
            raise _NotOfferedError
        arguments: dict[str, JSONValue] = {}
        for name, argument in change.arguments.items():
            given = json_value(argument(scope))
            if given is not None:
                arguments[name] = given
        return Operation(
            kind=change.kind,
            part=self._part(view),
            other=self._other(change, scope),
            argument=change.argument,
            value=value,
            layer=layer,
            arguments=arguments,
        )

    def _other(self, change: CompiledChange, scope: Scope) -> Part | None:
        if change.other is None:
            return None
        items = items_of(scope.get(change.other))
        if len(items) != 1:
            raise _NotOfferedError
        return self._part(items[0])

    @staticmethod
    def _part(view: NodeView | ModuleView) -> Part:
        item = item_of(view)
        if isinstance(item, NodeInfo):
            return Part(module=item.module, node=item.name, op=item.op, is_layer=bool(item.cls))
        return Part(module=str(view), op=(item.op if item is not None else None) or "")


def _identity(operation: Operation) -> object:
    """What two operations share that change the same thing."""
    part = operation.part
    if operation.kind in _OF_CONSTRUCTION and part.is_layer:
        return (operation.kind, part.module, operation.argument)
    return (operation.kind, part, operation.other, operation.argument)


def _does(operation: Operation) -> object:
    return (operation.value, operation.layer, operation.arguments)


def _groups(operation: Operation) -> int | None:
    """The number of groups that an operation gives a layer."""
    given = operation.value if operation.argument == _GROUPS else operation.arguments.get(_GROUPS)
    return given if type(given) is int else None


def _share_groups(made: Sequence[_Made]) -> None:
    """Give layers that one line builds one number of groups, where they have a divisor in common: the line can say only one."""
    sites: dict[object, list[_Made]] = {}
    for item in made:
        if item.place is not None and _groups(item.operation) is not None:
            sites.setdefault((item.place, item.operation.kind, item.operation.layer), []).append(item)
    for items in sites.values():
        shared = shared_group_count(_groups(item.operation) or 1 for item in items)
        if shared is not None:
            for item in items:
                item.operation = _with_groups(item.operation, shared)


def _with_groups(operation: Operation, groups: int) -> Operation:
    if operation.argument == _GROUPS:
        return replace(operation, value=groups)
    return replace(operation, arguments={**operation.arguments, _GROUPS: groups})
