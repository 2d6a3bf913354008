"""Why a function of torch need not be the same for other inputs than those that were followed, or for other layers of the same class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from normadvisor.graph.written import Written
from normadvisor.graph.written.axes import counts_from_the_last, named_axes
from normadvisor.graph.written.exact import called, is_tensor
from normadvisor.graph.written.model import Surroundings
from normadvisor.rewrite.source.functions.definitions import Unclear, definition
from normadvisor.rewrite.source.functions.walk import Walk
from normadvisor.rewrite.source.imports import is_bound_locally
from normadvisor.rewrite.source.place import SourceTree

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["axis_as_written", "doubts", "is_constant"]

_NORMS = frozenset({"layer_norm", "rms_norm"})
_SOFTMAXES = frozenset({"softmax", "log_softmax"})
_EXTREMES = frozenset({"maximum", "minimum", "max", "min"})
_DTYPES = (
    "where the input and the weight have two dtypes, as in a model that keeps its norms in float32, the function gives that of the input, "
    "and for some pairs an error, while what stands here gives the wider one"
)
_MASK = "a mask with fewer than two axes, or an added one that is not of floating point, means something else to the function"
_AXES = "axes are counted from the first, so that it is something else for inputs with more axes"


def doubts(written: Written, walk: Walk, model: nn.Module) -> Iterator[str]:
    """Each in half a sentence; none where the function is the same for every input that the source takes.

    Args:
        written: what the function takes the place of.
        walk: how the source says it, with what the call passes on.
        model: what the targets in its graph are relative to.

    """
    if "weight" in written.inputs:
        yield _DTYPES
    if not _has_sure_axes(written, Surroundings(written.root.graph, model)):
        yield _AXES
    if "attn_mask" in written.inputs and _is_given(written.inputs["attn_mask"]):
        yield _MASK
    for value, expr in walk.numbers:
        if isinstance(value, int | float | None) and not is_constant(expr, walk.tree) and ast.unparse(expr) not in walk.passed:
            yield f"`{walk.segment(expr)}` may be another number for other layers or calls, which would make it another function"
    if "negative_slope" in written.arguments and any(called(node) in _EXTREMES for node in written.nodes) and walk.passed:
        yield "with a slope above 1 it is another function"


def axis_as_written(written: Written, model: nn.Module) -> int | None:
    """The one axis that all operations name, counted as they count it; ``None`` where they differ."""
    around = Surroundings(written.root.graph, model)
    named = {named_axes(node, around) for node in written.nodes} - {None}
    axes = named.pop() if len(named) == 1 else None
    return axes[0] if axes is not None and len(axes) == 1 else None


def _has_sure_axes(written: Written, around: Surroundings) -> bool:
    """Whether the same axes are computed along for inputs with any number of axes for which the source computes anything."""
    if written.op in _SOFTMAXES:
        return axis_as_written(written, around.model) is not None or all(counts_from_the_last(node, around) for node in written.nodes)
    if written.op == "attention":
        names = {called(node) for node in written.nodes}
        if "bmm" in names or "permute" in names:
            return True  # both run for tensors of one number of axes alone
    return written.op not in {*_NORMS, "attention"} or all(counts_from_the_last(node, around) for node in written.nodes)


def _is_given(node: fx.Node) -> bool:
    """Whether a tensor hangs on what a caller hands over, rather than on parameters and buffers alone."""
    waiting, seen = [node], {node}
    while waiting:
        node = waiting.pop()
        if node.op == "placeholder":
            return True
        fresh = [source for source in node.all_input_nodes if source not in seen and is_tensor(source)]
        seen.update(fresh)
        waiting += fresh
    return False


def is_constant(expr: ast.expr, tree: SourceTree) -> bool:
    """Whether an expression has one value wherever it is run: it reads constants, and names from outside functions."""
    match expr:
        case ast.Constant():
            return True
        case ast.UnaryOp():
            return is_constant(expr.operand, tree)
        case ast.BinOp():
            return is_constant(expr.left, tree) and is_constant(expr.right, tree)
        case ast.Tuple() | ast.List():
            return all(is_constant(item, tree) for item in expr.elts)
        case ast.Call():
            return is_constant(expr.func, tree) and all(is_constant(item, tree) for item in expr.args) and not expr.keywords
        case ast.Attribute():
            return is_constant(expr.value, tree)
        case ast.Name():
            found = definition(tree, expr.id, expr)
            if isinstance(found, ast.Assign) and len(found.targets) == 1 and isinstance(found.targets[0], ast.Name):
                return is_constant(found.value, tree)
            return found is Unclear.OUTSIDE and not is_bound_locally(expr.id, tree, expr)
    return False
