"""Products of matrices in all their spellings: ``@``, ``matmul``, ``bmm`` and ``einsum``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from normadvisor.graph.written.exact import called, is_tensor, shape_of

__all__ = ["Product", "product_at", "swaps_last"]

_PRODUCTS = frozenset({"matmul", "bmm"})


@dataclass(frozen=True, slots=True)
class Product:
    """``left @ right``, of operands whose axes are permuted first."""

    left: fx.Node
    right: fx.Node
    left_axes: list[int] | None = None
    """How ``left`` has to be permuted so that batch axes come first, then rows, then the summed axis; ``None`` if it need not be."""
    right_axes: list[int] | None = None
    """The same for ``right``: batch axes, the summed axis, columns."""
    swapped_axes: list[int] | None = None
    """And with the last two exchanged: batch axes, columns, the summed axis."""
    out_axes: list[int] | None = None
    """How the result of ``@`` has to be permuted; ``None`` if it need not be."""


def product_at(node: fx.Node) -> Product | None:
    """The product that a node computes; ``None`` if it computes none, or one of vectors."""
    name = called(node)
    if name in _PRODUCTS and len(node.args) == 2:
        left, right = node.args
        if not isinstance(left, fx.Node) or not isinstance(right, fx.Node) or not is_tensor(left):
            return None
        rank = len(shape_of(right) or ())
        return Product(left, right, swapped_axes=[*range(rank - 2), rank - 1, rank - 2]) if rank > 2 else None
    return _of_einsum(node) if name == "einsum" else None


def _of_einsum(node: fx.Node) -> Product | None:
    equation, *operands = node.args
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = list(operands[0])
    if not isinstance(equation, str) or len(operands) != 2 or "->" not in equation or "." in equation:
        return None
    left, right = operands
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        return None
    given, _, out = equation.replace(" ", "").partition("->")
    first, _, second = given.partition(",")
    if any(len(set(labels)) != len(labels) for labels in (first, second, out)) or len(out) < 3:
        return None
    batch = [label for label in out if label in first and label in second]
    rows = [label for label in out if label in first and label not in second]
    columns = [label for label in out if label in second and label not in first]
    summed = [label for label in first if label in second and label not in out]
    if len(rows) != 1 or len(columns) != 1 or len(summed) != 1:
        return None
    return Product(
        left,
        right,
        left_axes=_order(first, [*batch, *rows, *summed]),
        right_axes=_order(second, [*batch, *summed, *columns]),
        swapped_axes=_order(second, [*batch, *columns, *summed]),
        out_axes=_order("".join([*batch, *rows, *columns]), list(out)),
    )


def _order(labels: str, wanted: list[str]) -> list[int] | None:
    axes = [labels.index(label) for label in wanted]
    return None if axes == list(range(len(axes))) else axes


def swaps_last(node: fx.Node, rank: int) -> bool:
    """Whether a node exchanges the last two axes of a tensor with ``rank`` axes."""
    if node.target is getattr:
        return bool(node.args[1] == "mT")
    name = called(node)
    if rank < 2 or name not in {"transpose", "swapaxes", "swapdims", "permute"}:
        return False
    given = [*node.args[1:], *node.kwargs.values()]
    flat: list[Any] = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given
    if not all(isinstance(axis, int) for axis in flat):
        return False
    axes: list[int] = [int(axis) % rank for axis in flat]
    if name == "permute":
        return axes == [*range(rank - 2), rank - 1, rank - 2]
    return bool(set(axes) == {rank - 2, rank - 1})
