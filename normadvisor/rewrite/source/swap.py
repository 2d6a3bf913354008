"""Lets two layers of the source change places: elements of a sequence, calls in ``forward``, or one of each."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

import torch

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.source.allies import with_allies
from normadvisor.rewrite.source.calls import Use, all_covered, called_at, is_container_call, use_of
from normadvisor.rewrite.source.exchange import swapped_units
from normadvisor.rewrite.source.insertion import insert
from normadvisor.rewrite.source.layers import like_layer
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.removal import remove
from normadvisor.rewrite.source.sequence import Slot, built_under, reason_for_none, receiver, slots
from normadvisor.rewrite.source.spans import Text, joined
from normadvisor.rewrite.source.statements import in_common_block, swapped_statements
from normadvisor.types import Edit, expand
from normadvisor.types.operation import Operation, OperationKind

__all__ = ["swap"]

_BETWEEN = expand(("identity_like", "reshaping", "pooling", "resampling", "dropout_like", "activation", "drop_path"))
"""Operations that may stand between the two."""
_BRANCHING = (ast.IfExp, ast.BoolOp, ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)


def swap(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Let the first layer of each pair run second.

    Args:
        operations: of kind ``swap_layers``: all that a fix swaps.
        context: the model.

    Raises:
        Refused: the source does not show both places, the value between them is used elsewhere, or the places serve other layers, too.

    """
    operations = with_allies(operations, context)
    edits: list[Edit] = []
    for operation in operations:
        other = operation.other
        if other is None:
            raise Refused(f"it is not said what `{operation.part.module}` is to be swapped with")
        _check_chain(context, context.node(operation.part), context.node(other))
    apart: list[Operation] = []
    for operation in operations:
        found = _in_sequence(context, operation, operations) or _in_forward(context, operation, operations)
        edits += found
        apart += [] if found else [operation]
    return joined([*edits, *_moved(context, apart)] if apart else edits)


def _check_chain(context: WriteContext, first: NodeInfo, second: NodeInfo) -> None:
    """Check that what the first gives goes to the second and nowhere else, and that the second takes what the first was given."""
    node = first
    while node.index != second.index:
        if len(node.users) != 1:
            raise Refused(f"what `{node.module or node.op}` gives is used by {len(node.users)} others, not by `{second.module}` alone")
        node = context.graph.nodes[node.users[0]]
        if node.index != second.index and node.op not in _BETWEEN:
            raise Refused(f"{node.op} stands between `{first.module or first.op}` and `{second.module or second.op}`")
    given, taken = first.in_shape, second.in_shape
    if given is None or taken is None:
        return
    per_channel = second.op in {"batch_norm", "instance_norm", "group_norm"} or first.op in {"batch_norm", "instance_norm", "group_norm"}
    same = (len(given), given[1:2]) == (len(taken), taken[1:2]) if per_channel else given == taken
    if not same and _has_shape(first, second):
        raise Refused(f"`{first.module or first.op}` takes {list(given)}, `{second.module or second.op}` {list(taken)}")


def _has_shape(*nodes: NodeInfo) -> bool:
    """Whether one of them only takes values of a certain shape."""
    return any(node.op in expand(("norm", "prelu", "softmax_like")) for node in nodes)


def _parts(operations: Sequence[Operation]) -> tuple[set[str], set[str]]:
    first = {operation.part.module for operation in operations if operation.part.is_layer}
    second = {operation.other.module for operation in operations if operation.other is not None and operation.other.is_layer}
    return first, second


def _in_sequence(context: WriteContext, operation: Operation, operations: Sequence[Operation]) -> list[Edit]:
    """Two layers of one sequence, from the places that build them outwards."""
    part, other = operation.part, operation.other
    assert other is not None  # noqa: S101 - swap has looked
    if not part.is_layer or not other.is_layer:
        return []
    nodes = context.node(part), context.node(other)
    if not all(is_container_call(context, node) or _in_loop(context, node) for node in nodes):
        return []
    first, second = _parts(operations)
    built = [set(built_under(context, context.construction(item.module).location)) for item in (part, other)]
    first |= _apart(built[0], built[1])
    second |= _apart(built[1], built[0])
    ones = [found[0] for found in slots(context, part.module, first, optional=True) if len(found) == 1]
    others = [found[0] for found in slots(context, other.module, second, optional=True) if len(found) == 1]
    for one in ones:
        for two in others:
            if (edits := _units(one, two)) is not None:
                return edits
    return []


def _apart(built: set[str], others: set[str]) -> set[str]:
    """Layers whose sequence holds none of the others: it is all the same to them which comes first."""
    owners = {name.rpartition(".")[0] for name in others}
    return {name for name in built if name.rpartition(".")[0] not in owners}


def _in_loop(context: WriteContext, node: NodeInfo) -> bool:
    """Whether a layer is one of several that a loop runs."""
    location = context.call_site(node).location
    _, call = context.call_at(location)
    return isinstance(call.func, ast.Name) and len(called_at(context, location)) > 1


def _units(one: Slot, two: Slot) -> list[Edit] | None:
    """Two slots of one sequence exchanged; ``None`` where they are not of one."""
    if one.tree is not two.tree:
        return None
    first, second = one.adding(), two.adding()
    if first is None or second is None or one.holder is two.holder:
        return swapped_units(one, two)
    common = in_common_block(one.tree, first, second)
    if common is None or receiver(first) != receiver(second) or not receiver(first):
        return None
    if common == (first, second):
        if one.is_statement and two.is_statement:
            return swapped_units(one, two)
        text = Text(one.tree)
        spans = [text.extent(slot.layer) for slot in (one, two)]
        is_named = any(slot.unit is not slot.layer and not slot.is_statement for slot in (one, two))
        return None if is_named else [text.edit(*spans[0], text.of(two.layer)), text.edit(*spans[1], text.of(one.layer))]
    return swapped_statements(one.tree, *common) if _only_adds(*common) and _only_adds(*reversed(common)) else None


def _only_adds(statement: ast.stmt, other: ast.stmt) -> bool:
    """Whether a statement adds one layer at most: an ``append``, or an ``if`` around it and variables that only it needs."""
    inner = [item for item in ast.walk(statement) if isinstance(item, ast.stmt) and not isinstance(item, ast.If)]
    used = {item.id for item in ast.walk(other) if isinstance(item, ast.Name)}
    adding = [item for item in inner if not _sets_own(item, used)]
    if len(adding) != 1 or not isinstance(statement, ast.If | ast.Expr | ast.Assign | ast.AugAssign):
        return False
    added = adding[0].value if isinstance(adding[0], ast.AugAssign) else None
    return added is None or (isinstance(added, ast.List | ast.Tuple) and len(added.elts) == 1)


def _sets_own(statement: ast.stmt, used: set[str]) -> bool:
    """Whether a statement sets variables that another statement has nothing to do with."""
    if not isinstance(statement, ast.Assign):
        return False
    return all(isinstance(target, ast.Name) and target.id not in used for target in statement.targets)


def _in_forward(context: WriteContext, operation: Operation, operations: Sequence[Operation]) -> list[Edit]:
    """Two calls in one function."""
    assert operation.other is not None  # noqa: S101 - swap has looked
    nodes = context.node(operation.part), context.node(operation.other)
    if any(part.is_layer and is_container_call(context, node) for part, node in zip((operation.part, operation.other), nodes, strict=True)):
        return []
    first, second = (use_of(context, node) for node in nodes)
    if first.tree is not second.tree or first.tree.function(first.call) is not second.tree.function(second.call):
        return []
    all_covered(context, first.location, {item.part.node for item in operations})
    all_covered(context, second.location, {item.other.node for item in operations if item.other is not None})
    return _exchanged(first, second)


def _exchanged(first: Use, second: Use) -> list[Edit]:
    tree = first.tree
    for use in (first, second):
        if any(isinstance(item, _BRANCHING) for item in _expressions_around(tree, use.call)):
            raise Refused(f"the call at {place_of(use.location)} does not always run")
    one, two = tree.statement(first.call), tree.statement(second.call)
    common = None if one is two else in_common_block(tree, one, two)
    if one is not two and common is None:
        raise Refused(f"the calls at {place_of(first.location)} and {place_of(second.location)} do not run together")
    if common is not None and common != (one, two):
        edits = swapped_statements(tree, *common) if _of_one_name(common) else None
        if edits is None:
            raise Refused(f"the calls at {place_of(first.location)} and {place_of(second.location)} do not always run together")
        return edits
    return [*_dressed(first, second), *_dressed(second, first)]


def _expressions_around(tree: SourceTree, node: ast.AST) -> list[ast.AST]:
    found = []
    for item in tree.around(node):
        if isinstance(item, ast.stmt):
            break
        found.append(item)
    return found


def _of_one_name(statements: tuple[ast.stmt, ast.stmt]) -> bool:
    """Whether both statements change one and the same variable: ``x = f(x)``."""
    names = [[item for item in ast.walk(statement) if isinstance(item, ast.Name)] for statement in statements]
    read = [{item.id for item in found} for found in names]
    stored = [{item.id for item in found if isinstance(item.ctx, ast.Store)} for found in names]
    return len(stored[0]) == 1 and stored[0] == stored[1] and all(stored[0] <= found for found in read)


def _dressed(use: Use, like: Use) -> list[Edit]:
    """A call of what another call calls, on its own input."""
    text = Text(use.tree)
    (start, begin), (end, last) = use.around()
    before, behind = like.words()
    for span in ((start, begin), (end, last)):
        if "#" in text.text[slice(*span)]:
            raise Refused(f"comments inside the call at {place_of(use.location)} would be lost")
    if like.is_method and not isinstance(use.data, ast.Name | ast.Attribute | ast.Call | ast.Subscript) and text.text[begin] != "(":
        before, behind = f"({before}", f"){behind}"
    if use.is_method and not like.is_method:
        begin, end = text.start(use.data), text.end(use.data)  # the call has parentheses of its own
    return [text.edit(start, begin, before), text.edit(end, last, behind)]


def _moved(context: WriteContext, operations: Sequence[Operation]) -> list[Edit]:
    """Take a layer without parameters out, and put one like it behind the other."""
    removals, insertions = [], []
    for operation in operations:
        assert operation.other is not None  # noqa: S101 - swap has looked
        part, other = operation.part, operation.other
        node = context.node(part)
        try:
            layer, arguments = like_layer(node, context.module(part.module) if part.is_layer else None)
        except Refused as refused:
            raise Refused(f"{refused.reason}: {_why_apart(context, operations)}") from refused
        removals.append(Operation(kind=OperationKind.REMOVE_LAYER, part=part))
        insertions.append(replace(operation, kind=OperationKind.INSERT_LAYER, part=other, other=None, layer=layer, arguments=arguments))
    return [*remove(removals, context), *insert(insertions, context)]


def _why_apart(context: WriteContext, operations: Sequence[Operation]) -> str:
    """Why two layers cannot change places where they are."""
    for names in _parts(operations):
        for name in sorted(names):
            if not any(True for _ in slots(context, name, names)) and context.graph.modules[name].site is not None:
                owner = type(context.module(name.rpartition(".")[0]))
                if owner.forward is torch.nn.Sequential.forward:
                    return reason_for_none(context, name, names)
    part, other = operations[0].part, operations[0].other
    return f"it does not stand beside `{(other or part).module}`"
