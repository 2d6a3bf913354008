"""From the operations of a fix to edits of source files, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.rewrite.source.place import Refused, SourceFiles, WriteContext
from normadvisor.types import Edit, Fix
from normadvisor.types.operation import Operation, OperationKind

if TYPE_CHECKING:
    import torch

    from normadvisor.graph.model import ModelGraph

__all__ = ["write_source"]

_Writer: TypeAlias = Callable[[Sequence[Operation], WriteContext], list[Edit]]

_WRITERS = {
    OperationKind.SET_ARGUMENT: ("construct", "set_argument"),
    OperationKind.REPLACE_LAYER: ("construct", "replace_layer"),
    OperationKind.WRAP_LAYER: ("construct", "wrap_layer"),
    OperationKind.REMOVE_LAYER: ("removal", "remove"),
    OperationKind.SWAP_LAYERS: ("swap", "swap"),
    OperationKind.INSERT_LAYER: ("insertion", "insert"),
    OperationKind.SEPARATE_LAYERS: ("separation", "separate"),
}
"""Module of this package and its function, by kind of operation."""


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
            well, the edits make both, and the fix that is returned has their operations too.

    Returns:
        The fix with its edits, or with the reason why the source cannot be edited. One without operations is returned as it is.

    """
    if not fix.operations:
        return fix
    try:
        context = WriteContext(graph, model, root, project, allied)
        edits = _edits(fix.operations, context)
    except Refused as refused:
        return replace(fix, edits=(), refused=refused.reason)
    joined = [operation for operation in context.joined if operation not in fix.operations]
    return replace(fix, edits=tuple(edits), refused="", operations=(*fix.operations, *joined))


def _edits(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    found: dict[Edit, None] = {}
    for kind in dict.fromkeys(operation.kind for operation in operations):
        same = [operation for operation in operations if operation.kind is kind]
        found.update(dict.fromkeys(_writer(kind)(same, context)))
    changing = [edit for edit in found if not context.files.tree(edit.path).reads(edit)]
    return sorted(changing, key=lambda edit: (edit.path, edit.cell or 0, edit.line, edit.column, edit.end_line, edit.end_column))


def _writer(kind: OperationKind) -> _Writer:
    module, name = _WRITERS[kind]
    try:
        found: _Writer = getattr(import_module(f"{__package__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise Refused(f"{kind.value} of source is not supported") from error
    return found
