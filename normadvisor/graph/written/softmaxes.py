"""Softmax and its logarithm written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import fx

from normadvisor.graph.written.exact import CannotEvaluate, called, dtype_of, evaluated, is_in_place, is_tensor, shape_of
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.spans import Parameters, Span, spans

__all__ = ["softmax_at"]

_LAST = frozenset({"log", "sub", "div", "truediv", "true_divide", "divide"})
_INSIDE = _LAST | {"softmax", "exp", "sum", "amax", "max", "logsumexp", "getitem", "float", "to", "type_as", "contiguous", "detach"}
_TOLERANCE = 1e-9
_FUNCTIONS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {"log_softmax": F.log_softmax, "softmax": F.softmax}


def softmax_at(root: fx.Node, around: Surroundings) -> Written | None:
    """The expression that ends in a node and is a softmax or a logarithm of one, over any axis.

    ``log(softmax(x))`` is minus infinity where the softmax is too small to be a number, and ``log_softmax`` is not.
    """
    if called(root) not in _LAST or not _expands(root):
        return None
    for span in reversed(list(spans(root, around.order, Parameters.around(around), _expands))):
        shape = shape_of(span.source)
        if not shape or span.parameters or shape != shape_of(root) or dtype_of(root) != dtype_of(span.source):
            continue
        found = _identified(span, shape)
        if found is not None:
            return found
    return None


def _expands(node: fx.Node) -> bool:
    return called(node) in _INSIDE and not is_in_place(node) and (is_tensor(node) or called(node) == "max")


def _identified(span: Span, shape: tuple[int, ...]) -> Written | None:
    sizes = [min(size, 5 + axis) if size > 1 else 2 for axis, size in enumerate(shape)]  # of one element nothing would tell the axis
    x = torch.randn(sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    try:
        y, moved = (evaluated(span.nodes, {span.source: value}) for value in (x, x + 4))
    except CannotEvaluate:
        return None
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        return None
    for op, function in _FUNCTIONS.items():
        for axis in reversed(range(len(sizes))):
            pairs = ((y, function(x, axis)), (moved, function(x + 4, axis)))
            if sizes[axis] > 1 and all(torch.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE) for found, expected in pairs):
                return Written(
                    op=op,
                    function=f"torch.nn.functional.{op}",
                    root=span.root,
                    inputs={"input": span.source},
                    nodes=span.nodes,
                    arguments={"dim": axis - len(sizes)},
                )
    return None
