"""What dataflow tells: users, repeated calls, residual joins, which axis holds features, what leaves the model unchanged."""

from __future__ import annotations

from collections import Counter
from typing import Any

from normadvisor.graph.model import NodeInfo
from normadvisor.types import GROUPS, OPS

__all__ = ["add_facts", "weight_layers"]

_NORMS = frozenset(GROUPS["norm"])
_LINEAR = frozenset(GROUPS["linear_map"])
_UNCHANGED = frozenset(GROUPS["identity_like"]) | frozenset(GROUPS["reshaping"])
_WEIGHTED = _LINEAR | frozenset(GROUPS["recurrent"]) | {"embedding", "attention"}
_KEEPS = (
    frozenset(GROUPS["activation"]) | frozenset(GROUPS["softmax_like"]) | frozenset(GROUPS["dropout_like"])
    | frozenset(GROUPS["identity_like"]) | frozenset(GROUPS["pooling"]) | frozenset(GROUPS["arithmetic"])
    | _NORMS | {"pad", "upsample", "affine", "cat", "drop_path"}
)  # fmt: skip
_NONLINEAR = OPS - _LINEAR - _NORMS - _UNCHANGED - frozenset(GROUPS["arithmetic"]) - frozenset(GROUPS["pooling"]) - {"pad", "affine", "cat"}
_JOINS = frozenset({"add", "sub", "mul", "div"})
_SHORTCUT, _SEARCH = 12, 2000


def add_facts(nodes: list[NodeInfo]) -> dict[str, Any]:
    """Fill the fields that follow from the others; returns numbers about the whole graph."""
    _users(nodes)
    _calls(nodes)
    _output(nodes)
    for node in nodes:
        node.channel_axis, node.channel_origin = _channels(node, nodes)
        if node.op == "add":
            node.is_residual = _residual(node, nodes)
        shapes = {nodes[source].shape for source in node.inputs}
        if node.op in _JOINS and len(shapes) > 1 and None not in shapes:
            node.attrs = {**node.attrs, "broadcasts": True}
    return {"weight_layers": weight_layers(nodes), "has_residual": any(node.is_residual for node in nodes)}


def weight_layers(nodes: list[NodeInfo]) -> int:
    """How many different layers with weights lie on the longest path from an input to an output."""
    depth = [0] * len(nodes)
    for node in nodes:
        before = max((depth[source] for source in node.inputs), default=0)
        depth[node.index] = before + (node.op in _WEIGHTED)
    return max(depth, default=0)


def _users(nodes: list[NodeInfo]) -> None:
    users: list[list[int]] = [[] for _ in nodes]
    for node in nodes:
        for source in node.inputs:
            users[source].append(node.index)
    for node, found in zip(nodes, users, strict=True):
        node.users = tuple(found)


def _key(node: NodeInfo) -> tuple[str, str] | None:
    return (node.module, node.op) if node.cls or (node.op in _NORMS | _LINEAR and node.module) else None


def _calls(nodes: list[NodeInfo]) -> None:
    counts = Counter(_key(node) for node in nodes)
    for node in nodes:
        key = _key(node)
        node.calls = counts[key] if key is not None else 1


def _output(nodes: list[NodeInfo]) -> None:
    for node in reversed(nodes):
        if node.op == "output" or (node.reaches_output and node.op in _UNCHANGED):
            for source in node.inputs:
                nodes[source].reaches_output = True


def _rank(node: NodeInfo) -> int | None:
    return len(node.shape) if node.shape is not None else None


def _channels(node: NodeInfo, nodes: list[NodeInfo]) -> tuple[int | None, str | None]:
    """Axis of the output that holds features, and the kind of operation that put them there."""
    rank = _rank(node)
    if node.op in {"conv", "conv_transpose"}:
        return _conv_axis(node, rank), "conv"
    if node.op in {"linear", "embedding", "attention", "rnn", "lstm", "gru"}:
        return (rank - 1 if rank else None), node.op
    if not node.inputs:
        return None, None
    first = nodes[node.inputs[0]]
    if node.op in _NORMS and first.channel_axis is None:
        return None, None
    if node.op in {"flatten", "reshape", "squeeze", "unsqueeze", "permute"}:
        return _moved(node, first)
    if node.op in _KEEPS:
        return _agreed(node, nodes)
    if node.op in {"mean", "sum", "max", "min", "var", "std"}:
        return _reduced(node, first)
    return None, None


def _conv_axis(node: NodeInfo, rank: int | None) -> int:
    given = node.attrs.get("dims")
    dims = given if isinstance(given, int) else 0
    return 0 if rank is not None and rank == dims else 1 if rank is None or rank == dims + 2 else 0


def _agreed(node: NodeInfo, nodes: list[NodeInfo]) -> tuple[int | None, str | None]:
    rank = _rank(node)
    found: tuple[int | None, str | None] | None = None
    for source in node.inputs:
        operand = nodes[source]
        if operand.op == "input" and len(node.inputs) == 1:
            return None, None
        if rank is not None and _rank(operand) not in {None, rank}:
            continue
        if found is not None and operand.channel_axis != found[0]:
            return None, None
        found = found or (operand.channel_axis, operand.channel_origin)
    return found or (None, None)


def _reduced(node: NodeInfo, first: NodeInfo) -> tuple[int | None, str | None]:
    axis, rank = first.channel_axis, _rank(first)
    dims = node.attrs.get("dim")
    if axis is None or rank is None or dims is None:
        return None, None
    gone = {int(dim) % rank for dim in (dims if isinstance(dims, list) else [dims]) if isinstance(dim, int)}
    if axis in gone:
        return None, None
    if node.attrs.get("keepdim"):
        return axis, first.channel_origin
    return axis - sum(dim < axis for dim in gone), first.channel_origin


def _moved(node: NodeInfo, first: NodeInfo) -> tuple[int | None, str | None]:
    """The axis after a reshaping operation, from the shapes before and after."""
    axis, before, after = first.channel_axis, node.in_shape, node.shape
    if axis is None or before is None or after is None or axis >= len(before):
        return None, None
    if node.op == "permute":
        order = _order(node, len(before))
        return (order.index(axis), first.channel_origin) if order is not None and axis in order else (None, None)
    # Merging and splitting axes keeps elements in order: the axis survives where an axis of the same size has as many
    # elements before it as it had.
    size, ahead = before[axis], _product(before[:axis])
    for position, found in enumerate(after):
        if found == size and _product(after[:position]) == ahead and _product(after[position + 1 :]) == _product(before[axis + 1 :]):
            if size == 1 and position != axis:
                continue
            return position, first.channel_origin
    return None, None


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _order(node: NodeInfo, rank: int) -> list[int] | None:
    order = node.attrs.get("order")
    if isinstance(order, list) and len(order) == rank:
        return [int(axis) for axis in order if isinstance(axis, int)]
    return None


def _residual(node: NodeInfo, nodes: list[NodeInfo]) -> bool:
    """Whether one operand comes, along a path without nonlinearity, from an ancestor of the other."""
    if len(node.inputs) != 2:
        return False
    left, right = node.inputs
    return any(
        _meets(other, _shortcut(near, nodes), nodes) or _is_ancestor(near, other, nodes) for near, other in ((left, right), (right, left))
    )


def _shortcut(start: int, nodes: list[NodeInfo]) -> set[int]:
    """What a shortcut may start from: nodes behind ``start`` with nothing nonlinear and at most one weight layer between."""
    found, index, weights = {start}, start, 0
    for _ in range(_SHORTCUT):
        node = nodes[index]
        weights += node.op in _LINEAR
        if node.op in _NONLINEAR or len(node.inputs) != 1 or weights > 1:
            break
        index = node.inputs[0]
        if nodes[index].op != "input":
            found.add(index)
    found.discard(start)
    return found


def _is_ancestor(old: int, young: int, nodes: list[NodeInfo]) -> bool:
    return old < young and _meets(young, {old}, nodes)


def _meets(start: int, wanted: set[int], nodes: list[NodeInfo]) -> bool:
    """Whether any of ``wanted`` is ``start`` or an ancestor of it; the search is bounded."""
    if not wanted:
        return False
    oldest = min(wanted)
    seen, stack = {start}, [start]
    while stack and len(seen) < _SEARCH:
        index = stack.pop()
        if index in wanted:
            return True
        for source in nodes[index].inputs:
            if source >= oldest and source not in seen:
                seen.add(source)
                stack.append(source)
    return False
