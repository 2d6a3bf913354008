"""Attention written out: two products with a softmax between, and what scales and masks the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from normadvisor.graph.written.exact import called, dtype_of, is_cast, is_tensor, shape_of
from normadvisor.graph.written.model import Surroundings, Written, reads_only
from normadvisor.graph.written.products import Product, product_at, swaps_last
from normadvisor.graph.written.spans import Parameters
from normadvisor.graph.written.trial import Trial

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["DIVIDES", "MULTIPLIES", "attention_at"]

MULTIPLIES, DIVIDES = frozenset({"mul", "multiply"}), frozenset({"div", "divide", "true_divide", "truediv"})
_KEPT = frozenset({"contiguous", "clone"})
_MOST_STEPS = 12
_OPERANDS = ("query", "key", "value")
_RETURNED = "its attention weights are returned or read elsewhere, and scaled_dot_product_attention does not give them"


@dataclass(slots=True)
class _Scores:
    """What happens between the product of queries and keys and the one with the values."""

    nodes: set[fx.Node] = field(default_factory=set)
    masks: list[tuple[str, fx.Node, Any]] = field(default_factory=list)
    """Kind (``add``, ``subtract``, ``drop`` where true, ``keep`` where true), the mask, and what dropped scores become."""
    factors: list[tuple[str, fx.Node]] = field(default_factory=list)
    """``mul`` or ``div``, and a learned factor of each head."""
    scaled: fx.Node | None = None
    """The scores when they have been scaled, and not masked yet."""
    dropout: bool = False
    numbers: set[fx.Node] = field(default_factory=set)
    """Nodes of the graph that hang on numbers in the source alone."""


def attention_at(root: fx.Node, around: Surroundings) -> Written | None:
    """Attention whose second product is a node.

    ``arguments`` hold ``scale`` (unless it is that of the function), ``scaled_by`` where it is computed from sizes when the model runs
    (``width``: the features of a head; ``unclear``: that, or another axis of the same size),
    ``mask`` (kinds of the masks, joined by ``+``), ``fill`` (what the
    scores become where the mask drops them), ``dropout``, ``factor`` (how the input ``factor`` enters), and ``query_axes``, ``key_axes``,
    ``value_axes``, ``output_axes`` where axes have to be permuted.

    Args:
        root: the product with the values.
        around: its graph; shapes are needed.

    """
    second = product_at(root)
    if second is None or not is_tensor(root):
        return None
    scores, first = _followed(second.left, around)
    if first is None or scores.scaled is None:
        return None
    scores.nodes.add(root)
    query, query_axes = _query(first, scores)
    key, key_axes = _key(first, scores)
    inputs = {"query": query, "key": key, "value": second.right}
    axes = {"query_axes": query_axes, "key_axes": key_axes, "value_axes": second.right_axes, "output_axes": second.out_axes}
    for number, (_, mask, _) in enumerate(scores.masks):
        inputs["attn_mask" if number == 0 else f"attn_mask_{number}"] = mask
    if scores.factors:
        inputs["factor"] = scores.factors[0][1]
    _numbers(scores, set(inputs.values()))
    return _judged(root, inputs, {name: order for name, order in axes.items() if order is not None}, scores, around)


def _judged(
    root: fx.Node, inputs: dict[str, fx.Node], axes: dict[str, list[int]], scores: _Scores, around: Surroundings
) -> Written | None:
    nodes = tuple(sorted(scores.nodes, key=around.order.__getitem__))
    arguments: dict[str, JSONValue] = {name: list(order) for name, order in axes.items()}
    if scores.masks:
        arguments["mask"] = "+".join(kind for kind, _, _ in scores.masks)
        if any(fill is not None for _, _, fill in scores.masks):
            arguments["fill"] = [fill if fill is None or math.isfinite(fill) else "-inf" for _, _, fill in scores.masks]
    if scores.dropout:
        arguments["dropout"] = True
    if scores.factors:
        arguments["factor"] = scores.factors[0][0]
    kinds = [kind for kind, _, _ in scores.masks]
    factor = scores.factors[0][0] if scores.factors else ""
    scaled = scores.scaled
    if scaled is None or nodes[-1] is not root:
        return None
    scale = Trial(nodes=nodes, inputs=inputs, axes=axes, masks=kinds, factor=factor, scaled=scaled, around=around).scale()
    if scale is None:
        return None
    width = _last_size(inputs["query"], axes.get("query_axes"))
    is_default, sizes = math.isclose(scale, width**-0.5, rel_tol=1e-6), _sizes_read(scores)
    if not is_default and sizes:
        return None
    if not is_default:
        arguments["scale"] = scale
    if sizes:
        known = not axes and all(node in {inputs["query"], inputs["key"]} and axis == -1 for node, axis in sizes)
        alike = [size for node in inputs.values() for size in shape_of(node) or () if size == width]
        arguments["scaled_by"] = "width" if known or len(alike) <= len(_OPERANDS) else "unclear"
    inside = set(nodes)
    users = [user for node in nodes if node is not root for user in node.users]
    closed = all(user in inside or reads_only(user) for user in users)
    return Written(
        op="attention",
        function="torch.nn.functional.scaled_dot_product_attention",
        root=root,
        inputs=inputs,
        nodes=nodes,
        arguments=arguments,
        refused="" if closed else _RETURNED,
    )


def _last_size(node: fx.Node, axes: Sequence[int] | None) -> int:
    shape = shape_of(node) or (1,)
    return shape[axes[-1]] if axes is not None else shape[-1]


# -- back along the scores ---------------------------------------------------------------------------------------------------------


def _followed(weights: fx.Node, around: Surroundings) -> tuple[_Scores, Product | None]:
    """From the weights over dropout and softmax, masks and scaling, to the product of queries and keys."""
    scores = _Scores(numbers=Parameters.around(around).of_numbers)
    node: fx.Node | None = weights
    for _ in range(_MOST_STEPS):
        if node is None or _is_softmax(node, around):
            break
        dropout = _is_dropout(node, around)
        if not (dropout or is_cast(node) or called(node) in _KEPT):
            return scores, None
        scores.dropout = scores.dropout or dropout
        scores.nodes.add(node)
        node = _first(node)
    if node is None or not _is_softmax(node, around):
        return scores, None
    scores.nodes.add(node)
    node = _first(node)
    for _ in range(_MOST_STEPS):
        if node is None:
            break
        product = product_at(node)
        if product is not None and product.out_axes is None:
            scores.nodes.add(node)
            scores.scaled = scores.scaled or node
            return scores, product
        scores.nodes.add(node)
        node = _step(node, scores)
    return scores, None


def _step(node: fx.Node, scores: _Scores) -> fx.Node | None:
    """What the scores were before a node, which is noted; ``None`` where it does something else to them."""
    name, args = called(node), list(node.args)
    if is_cast(node) or name in _KEPT:
        return _first(node)
    if name in MULTIPLIES | DIVIDES and len(args) == 2:
        return _scaled(node, name, args, scores)
    if scores.scaled is not None:
        return None  # a mask that is scaled with the scores
    if name == "masked_fill" and len(args) == 3 and isinstance(args[0], fx.Node) and isinstance(args[1], fx.Node):
        scores.masks.append(("drop", args[1], _fill(args[2])))
        return args[0] if _fill(args[2]) is not None else None
    if name == "where" and len(args) == 3 and isinstance(args[0], fx.Node):
        for kind, before, fill in (("keep", args[1], args[2]), ("drop", args[2], args[1])):
            if isinstance(before, fx.Node) and _leads_to_product(before) and _fill(fill) is not None:
                scores.masks.append((kind, args[0], _fill(fill)))
                return before
        return None
    if name in {"add", "sub"} and len(args) == 2 and not node.kwargs:
        return _added(node, name, args, scores)
    return None


def _scaled(node: fx.Node, name: str, args: list[Any], scores: _Scores) -> fx.Node | None:
    for before, factor in (args, args[::-1])[: 2 if name in MULTIPLIES else 1]:
        if not isinstance(before, fx.Node) or not _leads_to_product(before):
            continue
        if isinstance(factor, fx.Node) and is_tensor(factor) and factor not in scores.numbers:
            if scores.factors or not _is_of_heads(factor, node):
                return None
            scores.factors.append(("mul" if name in MULTIPLIES else "div", factor))
        scores.scaled = scores.scaled or node
        return before
    return None


def _added(node: fx.Node, name: str, args: list[Any], scores: _Scores) -> fx.Node | None:
    if name == "sub" and (largest := _largest(args[1], args[0])):
        scores.nodes.update(largest)
        shifted: fx.Node = args[0]
        return shifted
    for before, mask in (args, args[::-1])[: 2 if name == "add" else 1]:
        nodes = isinstance(before, fx.Node) and isinstance(mask, fx.Node) and is_tensor(mask)
        if nodes and _leads_to_product(before) and shape_of(before) == shape_of(node):
            scores.masks.append(("add" if name == "add" else "subtract", mask, None))
            found: fx.Node = before
            return found
    return None


def _largest(node: Any, scores: Any) -> list[fx.Node]:
    """The nodes that find the largest score of each row, which softmax does by itself; empty where something else is computed."""
    found: list[fx.Node] = []
    while isinstance(node, fx.Node) and node is not scores:
        picks = node.target is getattr and node.args[1] == "values"
        if called(node) not in {"amax", "max", "detach", "getitem"} and not picks:
            return []
        found.append(node)
        node = node.args[0]
    return found


def _fill(value: Any) -> float | None:
    """The number that dropped scores become, as far down as makes them vanish."""
    if isinstance(value, fx.Node):
        value = value.meta.get("value")
    if isinstance(value, int | float) and not isinstance(value, bool) and value <= -1e4:
        return float(value)
    return None


def _leads_to_product(node: fx.Node) -> bool:
    """Whether scores come this way."""
    waiting, seen = [node], {node}
    for _ in range(3 * _MOST_STEPS):
        if not waiting:
            return False
        node = waiting.pop(0)
        if product_at(node) is not None and is_tensor(node):
            return True
        if not (is_cast(node) or called(node) in _KEPT | MULTIPLIES | DIVIDES | {"add", "sub", "masked_fill", "where"}):
            continue
        fresh = [each for each in node.all_input_nodes if each not in seen and is_tensor(each)]
        seen.update(fresh)
        waiting += fresh
    return False


def _is_of_heads(factor: fx.Node, node: fx.Node) -> bool:
    """Whether a factor is the same for all positions and features."""
    shape, whole = shape_of(factor) or (), shape_of(node) or ()
    return len(shape) <= len(whole) and all(size == 1 for size in shape[-2:]) and dtype_of(factor) == dtype_of(node)


def _sizes_read(scores: _Scores) -> set[tuple[fx.Node, int | None]]:
    """The tensors on whose sizes the number hangs that scores are scaled by, with the axis (-1: the last), ``None`` if it is unclear."""
    scaling = [node for node in scores.nodes if called(node) in MULTIPLIES | DIVIDES]
    waiting: list[tuple[fx.Node, Any]] = [(arg, None) for node in scaling for arg in node.args if isinstance(arg, fx.Node)]
    found: set[tuple[fx.Node, int | None]] = set()
    seen: set[tuple[fx.Node, Any]] = set()
    while waiting:
        node, index = waiting.pop()
        if (node, index) in seen or (is_tensor(node) and node not in scores.numbers):
            continue
        seen.add((node, index))
        if called(node) == "size" and len(node.args) > 1:
            index = node.args[1]
        for source in node.all_input_nodes:
            if is_tensor(source) and not is_tensor(node):
                rank = len(shape_of(source) or ())
                found.add((source, (index % rank) - rank if isinstance(index, int) and rank else None))
            else:
                waiting.append((source, node.args[1] if called(node) == "getitem" and isinstance(node.args[1], int) else None))
    return found


# -- operands ----------------------------------------------------------------------------------------------------------------------


def _query(first: Product, scores: _Scores) -> tuple[fx.Node, list[int] | None]:
    """The queries before they were scaled by a number."""
    query = first.left
    args = list(query.args)
    if called(query) in MULTIPLIES | DIVIDES and len(args) == 2 and len(query.users) == 1 and isinstance(args[0], fx.Node):
        factor = args[1]
        if not isinstance(factor, fx.Node) or not is_tensor(factor) or factor in scores.numbers:
            scores.nodes.add(query)
            return args[0], first.left_axes
    return query, first.left_axes


def _key(first: Product, scores: _Scores) -> tuple[fx.Node, list[int] | None]:
    """The keys with their features last: before they were transposed, or with the axes in which they have to be permuted."""
    key = first.right
    rank = len(shape_of(key) or ())
    inner = key.args[0] if key.args else None
    is_plain = first.right_axes is None and swaps_last(key, rank) and len(key.users) == 1
    if isinstance(inner, fx.Node) and is_plain:
        scores.nodes.add(key)
        return inner, None
    return key, first.swapped_axes


def _numbers(scores: _Scores, inputs: set[fx.Node]) -> None:
    """Add the nodes that compute numbers for these nodes alone."""
    nodes = scores.nodes
    waiting = [source for node in nodes for source in node.all_input_nodes]
    while waiting:
        source = waiting.pop()
        of_numbers = source.op in {"call_function", "call_method"} and (not is_tensor(source) or source in scores.numbers)
        if source in nodes or source in inputs or not of_numbers or any(user not in nodes for user in source.users):
            continue
        nodes.add(source)
        waiting += source.all_input_nodes


def _first(node: fx.Node) -> fx.Node | None:
    """What an operation on one tensor gets."""
    first = node.args[0] if node.args else node.kwargs.get("input")
    return first if isinstance(first, fx.Node) else None


def _is_dropout(node: fx.Node, around: Surroundings) -> bool:
    return called(node) == "dropout" or isinstance(around.module(node), nn.Dropout | nn.Identity)


def _is_softmax(node: fx.Node, around: Surroundings) -> bool:
    shape = shape_of(node)
    module = around.module(node)
    if isinstance(module, nn.Softmax):
        dim: Any = module.dim
    elif called(node) == "softmax":
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    else:
        return False
    return shape is not None and isinstance(dim, int) and len(shape) > 2 and dim % len(shape) == len(shape) - 1
