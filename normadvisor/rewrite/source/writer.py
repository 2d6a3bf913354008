"""From the operations of a fix to edits of source files, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.rewrite.source.construct import replace_layer, set_argument, wrap_layer
from normadvisor.rewrite.source.functions import use_function
from normadvisor.rewrite.source.insertion import insert
from normadvisor.rewrite.source.place import Refused, SourceFiles, WriteContext
from normadvisor.rewrite.source.removal import remove
from normadvisor.rewrite.source.separation import separate
from normadvisor.rewrite.source.swap import swap
from normadvisor.types import Applicability, Edit, Fix
from normadvisor.types.operation import Operation, OperationKind

if TYPE_CHECKING:
    import torch

    from normadvisor.graph.model import ModelGraph

__all__ = ["write_source"]

_Writer: TypeAlias = Callable[[Sequence[Operation], WriteContext], list[Edit]]

_WRITERS: dict[OperationKind, _Writer] = {
    OperationKind.SET_ARGUMENT: set_argument,
    OperationKind.REPLACE_LAYER: replace_layer,
    OperationKind.WRAP_LAYER: wrap_layer,
    OperationKind.REMOVE_LAYER: remove,
    OperationKind.SWAP_LAYERS: swap,
    OperationKind.INSERT_LAYER: insert,
    OperationKind.SEPARATE_LAYERS: separate,
    OperationKind.USE_FUNCTION: use_function,
}


def write_source(
    fix: Fix, graph: ModelGraph, model: torch.nn.Module, root: Path, project: SourceFiles, allied: Iterable[Operation] = ()
) -> Fix:
    """Write a fix as edits.

    Args:
        fix: with the operations of all layers that its finding names.
        graph: the traced model.
        model: the model itself.
        root: folder or file of the target; no file outside it is edited, nor one of a package installed in it.
        project: the files below the root, read once for all fixes.
        allied: operations of the same fix of other findings of the rule. Where a text that builds the layers of this fix builds theirs as
            well, so that it could not be changed for these alone, the edits make both, and the fix that is returned has their operations.

    Returns:
        The fix with its edits, or with the reason why the source cannot be edited; a safe one is unsafe where its edits keep the function
        for this model and need not do so for others. One without operations is returned as it is.

    """
    if not fix.operations:
        return fix
    allies = tuple(allied)
    try:
        context = WriteContext(graph, model, root, project)
        context.is_safe = fix.applicability is Applicability.SAFE
        edits = _edits(fix.operations, context)
    except Refused as refused:
        if not allies:
            return replace(fix, edits=(), refused=refused.reason)
        try:
            context = WriteContext(graph, model, root, project, allies)
            context.is_safe = fix.applicability is Applicability.SAFE
            edits = _edits(fix.operations, context)
        except Refused:
            return replace(fix, edits=(), refused=refused.reason)
    joined = [operation for operation in context.joined if operation not in fix.operations]
    return replace(_labelled(fix, context.doubts), edits=tuple(edits), refused="", operations=(*fix.operations, *joined))


def _labelled(fix: Fix, doubts: Iterable[str]) -> Fix:
    """The fix, unsafe where there are doubts, which it says then."""
    reasons = "; ".join(doubts)
    if not reasons or fix.applicability is not Applicability.SAFE:
        return fix
    return replace(fix, applicability=Applicability.UNSAFE, description=f"{fix.description} Unsafe: {reasons}.")


def _edits(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    found: dict[Edit, None] = {}
    for kind in dict.fromkeys(operation.kind for operation in operations):
        same = [operation for operation in operations if operation.kind is kind]
        found.update(dict.fromkeys(_WRITERS[kind](same, context)))
    changing = [edit for edit in found if not context.files.tree(edit.path).reads(edit)]
    return sorted(changing, key=lambda edit: (edit.path, edit.cell or 0, edit.line, edit.column, edit.end_line, edit.end_column))
