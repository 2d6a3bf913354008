"""Takes layers out of the source: elements of sequences, attributes with their calls, and calls of functions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.source.allies import with_allies
from normadvisor.rewrite.source.calls import Use, all_covered, is_container_call, runs_of, unwrapped, use_of
from normadvisor.rewrite.source.imports import is_bound_locally, name_for
from normadvisor.rewrite.source.mentions import called_by_others, defined_in, indexed_at, named_at
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.sequence import Slot, built_under, frames_of, reason_for_none, slots, without
from normadvisor.rewrite.source.spans import joined
from normadvisor.rewrite.source.statements import without_statements
from normadvisor.types import Edit
from normadvisor.types.operation import Operation, OperationKind

__all__ = ["is_held", "remove", "statement_of"]

_IDLE = frozenset({"identity"})
"""Operations that a call may run as well: without the call the same comes out."""


@dataclass(slots=True)
class _Plan:
    """What goes."""

    slots: dict[tuple[SourceTree, ast.AST], Slot] = field(default_factory=dict)
    uses: dict[ast.Call, Use] = field(default_factory=dict)
    statements: dict[ast.stmt, SourceTree] = field(default_factory=dict)

    def add(self, other: _Plan) -> None:
        """Let another plan's parts go as well."""
        self.slots.update(other.slots)
        self.uses.update(other.uses)
        self.statements.update(other.statements)


def remove(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Take layers and function calls out.

    A layer leaves its sequence, or its attribute goes with the calls of it. Where other code needs its place or its name
    (``features[3]``, ``hasattr``), an ``nn.Identity`` is built instead.

    Args:
        operations: of kind ``remove_layer``: all that a fix takes out.
        context: the model.

    Raises:
        Refused: the source does not show what would go, or it serves layers that stay.

    """
    operations = with_allies(operations, context)
    layers = {operation.part.module: operation for operation in operations if operation.part.is_layer}
    functions = [context.node(operation.part) for operation in operations if not operation.part.is_layer]
    nodes = {operation.part.node for operation in operations if operation.part.node}
    replaced: dict[str, Operation] = {}
    while True:
        kept = {name for name in layers if name not in replaced}
        going = nodes - {node.name for node in context.graph.nodes if node.cls and node.module in replaced}
        plan, failed = _planned(context, functions, kept, going)
        if not failed:
            break
        last = next(iter(failed.values()))
        together = _same_place(context, failed, kept)
        if any(node.name not in nodes for name in together for node in runs_of(context, name)):
            raise last  # an nn.Identity would take the other runs as well
        replaced.update({name: layers[name] for name in together})
    edits = _edits(plan)
    if replaced:
        edits += _identities(context, list(replaced.values()), last)
    return joined(edits)


def _planned(context: WriteContext, functions: Iterable[NodeInfo], layers: set[str], going: set[str]) -> tuple[_Plan, dict[str, Refused]]:
    """What goes, and which layers cannot, with the reasons."""
    plan = _Plan()
    failed: dict[str, Refused] = {}
    for node in functions:
        plan.add(_function(context, node, going))
    attributes = []
    for name in sorted(layers):
        try:
            part, is_attribute = _layer(context, name, layers, going)
        except Refused as refused:
            failed[name] = refused
        else:
            plan.add(part)
            attributes += [name] if is_attribute else []
    statements: list[tuple[str, SourceTree, ast.stmt]] = []
    for name in attributes:
        try:
            statements.append((name, *statement_of(context, name, layers)))
        except Refused as refused:
            failed[name] = refused
    going_nodes = [*(use.call.func for use in plan.uses.values()), *(statement for _, _, statement in statements)]
    places: dict[tuple[type, str, str], str | None] = {}
    for name, tree, statement in statements:
        owner, _, attribute = name.rpartition(".")
        holder, home = context.module(owner), defined_in(tree, statement)
        key = (type(holder), attribute, home)
        if key not in places:
            places[key] = named_at(context, holder, attribute, going_nodes, home)
        place = places[key]
        if place is None:
            plan.statements[statement] = tree
        elif not called_by_others(context, holder, attribute, going_nodes, home):
            failed[name] = Refused(f"`{attribute}` is also named at {place}")
    return plan, failed


def _edits(plan: _Plan) -> list[Edit]:
    edits = without(list(plan.slots.values())) + unwrapped(plan.uses.values())
    by_tree: dict[SourceTree, list[ast.stmt]] = defaultdict(list)
    for statement, tree in plan.statements.items():
        by_tree[tree].append(statement)
    for tree, statements in by_tree.items():
        edits += without_statements(tree, statements)
    return edits


def _same_place(context: WriteContext, failed: Iterable[str], names: Iterable[str]) -> list[str]:
    """The layers that are built where one of those is that cannot be taken out."""
    places = set()
    for name in failed:
        places.add(context.construction(name).location)
    return [name for name in names if context.construction(name).location in places]


def _identities(context: WriteContext, operations: Sequence[Operation], refused: Refused) -> list[Edit]:
    """Build ``nn.Identity()`` in the place of layers.

    Raises:
        Refused: why they could not be taken out, if this cannot be done either.

    """
    from normadvisor.rewrite.source.construct import replace_layer  # noqa: PLC0415 - writers of construction sites

    if any(context.info(operation.part.module).calls == 0 for operation in operations):
        raise refused
    removed = {operation.part.module for operation in operations}
    edits: list[Edit] = []
    deeper: list[Operation] = []
    for operation in operations:
        location = context.construction(operation.part.module).location
        tree = context.tree(location)
        call = tree.call_at(location)
        if call is None or not removed.issuperset(built_under(context, location)):
            deeper.append(replace(operation, kind=OperationKind.REPLACE_LAYER, layer="torch.nn.Identity", arguments={}))
            continue
        _check_fixed(context, operation.part.module, tree, call)
        name, imports = name_for("torch.nn.Identity", tree, call, call.func)
        edits += [*imports, tree.edit(call, f"{name}()")]
    try:
        return edits + (replace_layer(deeper, context) if deeper else [])
    except Refused:
        raise refused from None


def _function(context: WriteContext, node: NodeInfo, going: set[str]) -> _Plan:
    use = use_of(context, node)
    all_covered(context, use.location, going)
    return _Plan(uses={use.call: use})


def _layer(context: WriteContext, name: str, removed: set[str], going: set[str]) -> tuple[_Plan, bool]:
    """What goes with a layer, and whether the statement that gives it to an attribute does."""
    runs = runs_of(context, name)
    covered = [node for node in runs if node.name in going]
    owner = context.module(name.rpartition(".")[0])
    if isinstance(owner, torch.nn.Sequential | torch.nn.ModuleList) and all(is_held(context, node) for node in runs):
        if len(covered) < len(runs):
            raise Refused(f"`{name}` runs {len(runs)} times, and the fix applies to {len(covered)} of them")
        return _element(context, name, removed), False
    uses = {}
    for node in covered:
        use = use_of(context, node)
        all_covered(context, use.location, going, idle=_IDLE)
        uses[use.call] = use
    return _Plan(uses=uses), len(covered) == len(runs)


def is_held(context: WriteContext, node: NodeInfo) -> bool:
    """Whether a layer runs as one of many, not by a call of its own such as ``self.features[0](x)``."""
    if is_container_call(context, node) and node.call_site is None:
        return True  # the model itself is the sequence
    _, call = context.call_at(context.call_site(node).location)
    return not isinstance(call.func, ast.Subscript) and (is_container_call(context, node) or isinstance(call.func, ast.Name))


def _element(context: WriteContext, name: str, removed: set[str]) -> _Plan:
    place = indexed_at(context, name)
    if place is not None:
        raise Refused(f"{place} depends on the position of `{name}`")
    for found in slots(context, name, removed):
        for slot in found:
            _check_fixed(context, name, slot.tree, slot.layer)
        return _Plan(slots={(slot.tree, slot.unit): slot for slot in found})
    raise Refused(reason_for_none(context, name, removed))


def statement_of(context: WriteContext, name: str, removed: set[str]) -> tuple[SourceTree, ast.stmt]:
    """The statement that builds the layer of an attribute.

    Raises:
        Refused: there is none, or it builds layers that stay.

    """
    attribute = name.rpartition(".")[2]
    for frame in frames_of(context, name):
        tree = context.tree(frame.location)
        call = tree.call_at(frame.location)
        if call is None or not _assigns(statement := tree.statement(call), attribute):
            continue
        if removed.issuperset(built_under(context, frame.location)):
            _check_fixed(context, name, tree, call)
            return tree, statement
        break
    raise Refused(reason_for_none(context, name, removed))


def _check_fixed(context: WriteContext, name: str, tree: SourceTree, layer: ast.expr) -> None:
    """Check that a layer which may only go because of what it computes is the same whatever arguments the model is built with.

    Raises:
        Refused: its class is given as an argument, and the fix is to be safe.

    """
    if not context.is_safe or not runs_of(context, name) or not isinstance(layer, ast.Call):
        return
    root = layer.func
    while isinstance(root, ast.Attribute):
        root = root.value
    built_here = tree.module.location(layer) == context.construction(name).location
    given = [] if built_here else [item for item in ast.walk(layer) if isinstance(item, ast.Name)]
    for item in [root, *given]:
        if isinstance(item, ast.Name) and (item.id == "self" or is_bound_locally(item.id, tree, layer)):
            where = place_of(tree.module.location(layer))
            raise Refused(f"`{item.id}` at {where} may build another layer, which does not compute the same")


def _assigns(statement: ast.stmt, attribute: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target] if isinstance(statement, ast.AnnAssign) else []
    return len(targets) == 1 and isinstance(targets[0], ast.Attribute) and targets[0].attr == attribute
