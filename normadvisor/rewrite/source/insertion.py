"""Puts layers into the source: behind an element of a sequence, or around the call that gives what they are to run on."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import torch

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.source.allies import with_allies
from normadvisor.rewrite.source.calls import Use, all_covered, called_at, is_container_call, use_of
from normadvisor.rewrite.source.imports import name_for, new_name
from normadvisor.rewrite.source.layers import constructor_text, function_text
from normadvisor.rewrite.source.mentions import indexed_at, names_of_class
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.removal import is_held, statement_of
from normadvisor.rewrite.source.sequence import Slot, reason_for_none, slots, with_next
from normadvisor.rewrite.source.spans import Text, joined
from normadvisor.rewrite.source.spelling import as_used
from normadvisor.types import Edit
from normadvisor.types.operation import Operation

__all__ = ["insert"]


def insert(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Run another layer on what comes out of a layer or a call.

    Behind an element of a sequence comes another element. Around a call comes the call of a function, in the style of the file's
    imports; of an attribute that is built for it where the layer has parameters.

    Args:
        operations: of kind ``insert_layer``: all that a fix puts in.
        context: the model.

    Raises:
        Refused: the source does not show where it would go, or other layers would get one, too.

    """
    operations = with_allies(operations, context)
    layers = {operation.part.module for operation in operations if operation.part.is_layer}
    nodes = {operation.part.node for operation in operations}
    edits: list[Edit] = []
    done: set[ast.AST] = set()
    for operation in operations:
        node = context.node(operation.part)
        slot = _slot(context, node, layers, nodes) if operation.part.is_layer else None
        if slot is not None:
            if slot.unit not in done:
                done.add(slot.unit)
                edits += _behind(context, slot, operation)
            continue
        use = use_of(context, node)
        all_covered(context, use.location, nodes)
        if use.call not in done:
            done.add(use.call)
            edits += _around(context, use, operation, layers)
    return joined(edits)


def _slot(context: WriteContext, node: NodeInfo, covered: set[str], nodes: set[str]) -> Slot | None:
    """The element behind which a layer goes; ``None`` where a call is to be wrapped."""
    name = node.module
    owner = context.module(name.rpartition(".")[0])
    if not isinstance(owner, torch.nn.Sequential | torch.nn.ModuleList) or not is_held(context, node):
        return None
    if not is_container_call(context, node) and all(item.name in nodes for item in called_at(context, context.call_site(node).location)):
        return None  # a loop over layers that all get one
    found = next(slots(context, name, covered), [])
    if len(found) > 1:
        where = ", ".join(str(Text(slot.tree).line(slot.span()[0])) for slot in found)
        raise Refused(f"`{name}` is put into several sequences, on lines {where} of {found[0].tree.module.path.rpartition('/')[2]}")
    if not found:
        raise Refused(reason_for_none(context, name, covered))
    return found[0]


def _behind(context: WriteContext, slot: Slot, operation: Operation) -> list[Edit]:
    text, imports = constructor_text(operation.layer, operation.arguments, slot.tree, slot.layer)
    wanted = operation.layer.rpartition(".")[2].lower()
    if indexed_at(context, operation.part.module) is None:
        return [*imports, with_next(slot, text, new_name(wanted, _names_in(slot)))]
    # Other code needs the layers behind it to stay where they are.
    name, more = name_for("torch.nn.Sequential", slot.tree, slot.layer, slot.layer.func if isinstance(slot.layer, ast.Call) else None)
    whole = Text(slot.tree)
    start, end = whole.extent(slot.layer)
    return [*imports, *more, whole.edit(start, start, f"{name}("), whole.edit(end, end, f", {text})")]


def _names_in(slot: Slot) -> set[str]:
    """Strings and keywords around a slot: names that layers of the sequence may have."""
    scope: ast.AST = slot.tree.function(slot.layer) or slot.tree.module.tree
    strings = {node.value for node in ast.walk(scope) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return strings | {node.arg for node in ast.walk(slot.holder) if isinstance(node, ast.keyword) and node.arg}


def _around(context: WriteContext, use: Use, operation: Operation, covered: set[str]) -> list[Edit]:
    text = Text(use.tree)
    start, end = text.start(use.call), text.end(use.call)
    found = as_used(context, use, operation) or function_text(operation.layer, operation.arguments, use.tree, use.call)
    if found is None:
        name, edits = _attribute(context, use, operation, covered)
        found = (f"self.{name}(", ")", edits)
    before, behind, imports = found
    return [*imports, text.edit(start, start, before), text.edit(end, end, behind)]


def _attribute(context: WriteContext, use: Use, operation: Operation, covered: set[str]) -> tuple[str, list[Edit]]:
    """Build the layer beside the one that it is to run behind."""
    part = operation.part
    if not part.is_layer:
        raise Refused(f"there is no layer at {place_of(use.location)} that {operation.layer} could be built beside")
    tree, statement = statement_of(context, part.module, covered)
    owner: torch.nn.Module = context.module(part.module.rpartition(".")[0])
    name = new_name(_attribute_name(operation.layer), names_of_class(context, type(owner)) | set(dict(owner.named_children())))
    built, imports = constructor_text(operation.layer, operation.arguments, tree, statement)
    return name, [*imports, beside(tree, statement, f"self.{name} = {built}")]


def _attribute_name(layer: str) -> str:
    name = layer.rpartition(".")[2].lower()
    return "norm" if name.endswith(("norm", "norm1d", "norm2d", "norm3d")) else "act" if "lu" in name else name


def beside(tree: SourceTree, statement: ast.stmt, text: str) -> Edit:
    """A statement put behind another, on a line of its own.

    Raises:
        Refused: the other shares its line.

    """
    whole = Text(tree)
    start, end = whole.start(statement), whole.end(statement)
    if not whole.begins_line(start) or not whole.ends_line(end):
        raise Refused(f"{tree.module.path}:{statement.lineno} holds more than one statement")
    stop = whole.line_end(end)
    return whole.edit(stop, stop, f"\n{whole.indentation(start)}{text}")
