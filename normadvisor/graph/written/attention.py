"""Attention written out: two products with a softmax between, and what scales and masks the scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from normadvisor.graph.written.model import Surroundings, Written, constant_scalar, name_of
from normadvisor.graph.written.values import CASTS, computed

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["attention_at"]

_PRODUCTS = frozenset({"matmul", "rmatmul", "bmm"})
_SCALING = frozenset({"mul", "multiply", "div", "divide", "true_divide", "truediv"})
_TOLERANCE = 1e-6
_WIDEST = 1 << 12


class _Mask(NamedTuple):
    """What is done to the scores beside scaling them."""

    node: fx.Node
    """The mask or bias itself."""
    kind: str
    """``add``: added; ``drop``: true where a score is left out."""


class _Found(NamedTuple):
    nodes: list[fx.Node]
    query: fx.Node
    key: fx.Node
    mask: _Mask | None
    is_transposed: bool
    """Whether the key is transposed here, rather than given transposed."""
    dropout: fx.Node | None


def attention_at(root: fx.Node, around: Surroundings) -> Written | None:
    """Attention whose second product is a node; the weights are read by nothing else.

    Args:
        root: the product with the values.
        around: its graph; shapes are needed.

    """
    if name_of(root) not in _PRODUCTS or len(root.args) != 2 or not all(isinstance(arg, fx.Node) for arg in root.args):
        return None
    weights, value = root.args
    assert isinstance(weights, fx.Node)  # noqa: S101 - the line above
    assert isinstance(value, fx.Node)  # noqa: S101 - as above
    found = _scores(weights, around)
    if found is None or found.key is value or not found.is_transposed:
        return None
    nodes = tuple(sorted({root, *found.nodes}, key=around.order.__getitem__))
    if any(user not in nodes for node in nodes if node is not root for user in node.users):
        return None
    scale = _confirmed(root, value, nodes, found, around)
    if scale is None:
        return None
    inputs = {"query": found.query, "key": found.key, "value": value}
    arguments: dict[str, JSONValue] = {}
    width = (around.shape(found.query) or (0,))[-1]
    if not math.isclose(scale, width**-0.5, rel_tol=1e-6):
        arguments["scale"] = scale
    if found.mask is not None:
        inputs["attn_mask"] = found.mask.node
        arguments["mask"] = found.mask.kind
    if found.dropout is not None:
        arguments["dropout"] = True
    return Written(
        op="attention", function="torch.nn.functional.scaled_dot_product_attention", root=root, inputs=inputs, nodes=nodes, arguments=arguments
    )  # fmt: skip


def _scores(weights: fx.Node, around: Surroundings) -> _Found | None:
    """Back from the weights over dropout and softmax to the product of queries and keys."""
    nodes: list[fx.Node] = []
    dropout: fx.Node | None = None
    node = weights
    while True:
        if _is_dropout(node, around):
            dropout = node if dropout is None else dropout
        elif name_of(node) not in CASTS:
            break
        nodes.append(node)
        first = node.args[0] if node.args else None
        if not isinstance(first, fx.Node):
            return None
        node = first
    if not _is_softmax(node, around):
        return None
    nodes.append(node)
    mask: _Mask | None = None
    node = _operand(node)
    while node is not None and name_of(node) not in _PRODUCTS:
        nodes.append(node)
        name = name_of(node)
        if name in _SCALING and len(node.args) == 2 and any(constant_scalar(arg) is not None for arg in node.args):
            node = _operand(node)
        elif name in CASTS:
            node = _operand(node)
        elif name in {"add", "radd", "masked_fill"} and mask is None:
            step = _masking(node, around)
            if step is None:
                return None
            node, mask = step
        else:
            return None
    if node is None or len(node.args) != 2 or not all(isinstance(arg, fx.Node) for arg in node.args):
        return None
    nodes.append(node)
    query, key = node.args
    assert isinstance(query, fx.Node)  # noqa: S101 - the lines above
    assert isinstance(key, fx.Node)  # noqa: S101 - as above
    return _with_key(nodes, query, key, mask, dropout, around)


def _with_key(
    nodes: list[fx.Node], query: fx.Node, key: fx.Node, mask: _Mask | None, dropout: fx.Node | None, around: Surroundings
) -> _Found:
    """Look through the transposition of the keys, and a scaling of the queries."""
    rank = len(around.shape(key) or ())
    inner = key.args[0] if key.args else None
    if isinstance(inner, fx.Node) and _swaps_last(key, rank) and len(key.users) == 1:
        nodes.append(key)
        key, transposed = inner, True
    else:
        transposed = False
    if name_of(query) in _SCALING and len(query.users) == 1 and any(constant_scalar(arg) is not None for arg in query.args):
        scaled = _operand(query)
        if scaled is not None:
            nodes.append(query)
            query = scaled
    return _Found(nodes, query, key, mask, transposed, dropout)


def _operand(node: fx.Node) -> fx.Node | None:
    """The one node that a node takes."""
    found = node.all_input_nodes
    return found[0] if len(found) == 1 else None


def _is_dropout(node: fx.Node, around: Surroundings) -> bool:
    return name_of(node) == "dropout" or isinstance(around.module(node), nn.Dropout)


def _is_softmax(node: fx.Node, around: Surroundings) -> bool:
    shape = around.shape(node)
    module = around.module(node)
    if isinstance(module, nn.Softmax):
        dim: Any = module.dim
    elif name_of(node) == "softmax":
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    else:
        return False
    return shape is not None and isinstance(dim, int) and len(shape) > 2 and dim % len(shape) == len(shape) - 1


def _masking(node: fx.Node, around: Surroundings) -> tuple[fx.Node, _Mask] | None:
    """The scores and the mask of an operation that masks them."""
    name, args = name_of(node), node.args
    if name == "masked_fill":
        if len(args) != 3 or not isinstance(args[0], fx.Node) or not isinstance(args[1], fx.Node):
            return None
        # Only infinity takes a score away whatever the others are; a row without any score left differs then, too.
        return (args[0], _Mask(args[1], "drop")) if args[2] == -math.inf else None
    if len(args) != 2 or node.kwargs or not all(isinstance(arg, fx.Node) for arg in args):
        return None
    shape = around.shape(node)
    for scores, mask in (args, args[::-1]):
        assert isinstance(scores, fx.Node)  # noqa: S101 - the lines above
        assert isinstance(mask, fx.Node)  # noqa: S101 - as above
        if _leads_to_product(scores) and around.shape(scores) == shape:
            return scores, _Mask(mask, "add")
    return None


def _leads_to_product(node: fx.Node) -> bool:
    for _ in range(4):
        if name_of(node) in _PRODUCTS:
            return True
        following = _operand(node)
        if following is None or name_of(node) not in _SCALING | CASTS:
            return False
        node = following
    return False


def _swaps_last(node: fx.Node, rank: int) -> bool:
    """Whether a node exchanges the last two axes."""
    name = name_of(node)
    if name in {"mT", "t"}:
        return name == "mT" or rank == 2
    if rank < 2 or name not in {"transpose", "swapaxes", "swapdims", "permute"}:
        return False
    given = [*node.args[1:], *node.kwargs.values()]
    flat: list[Any] = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given
    if not all(isinstance(axis, int) for axis in flat):
        return False
    axes = [axis % rank for axis in flat]
    if name == "permute":
        return axes == [*range(rank - 2), rank - 1, rank - 2]
    return sorted(axes) == [rank - 2, rank - 1]


def _confirmed(root: fx.Node, value: fx.Node, nodes: tuple[fx.Node, ...], found: _Found, around: Surroundings) -> float | None:
    """The scale, if the nodes compute attention with it on random numbers; ``None`` if they do not."""
    shapes = [around.shape(node) for node in (found.query, found.key, value, root)]
    if any(shape is None or len(shape) not in {3, 4} or max(shape[-2:]) > _WIDEST for shape in shapes):
        return None
    q, k, v, out = (shape for shape in shapes if shape is not None)
    if q[:-2] != k[:-2] or k[:-1] != v[:-1] or out != (*q[:-1], v[-1]) or q[-1] != k[-1]:
        return None
    generator = torch.Generator().manual_seed(0)
    lengths = [1 if size > 2 else size for size in q[:-2]] if found.mask is None else list(q[:-2])
    given: dict[fx.Node, Any] = {
        node: torch.randn([*lengths, *shape[-2:]], generator=generator, dtype=torch.float64)
        for node, shape in ((found.query, q), (found.key, k), (value, v))
    }
    mask = None
    if found.mask is not None:
        shape = around.shape(found.mask.node)
        if shape is None:
            return None
        mask = given[found.mask.node] = _random_mask(found.mask.kind, shape, generator)
        mask = ~mask if found.mask.kind == "drop" else mask
    values = computed(nodes, given, around)
    result = values[root] if values is not None else None
    scale = next(_scales(found, values, given), None) if values is not None else None
    if not isinstance(result, torch.Tensor) or scale is None:
        return None
    expected = F.scaled_dot_product_attention(*(given[node] for node in (found.query, found.key, value)), attn_mask=mask, scale=scale)
    same = result.shape == expected.shape and bool(((result - expected).abs() <= _TOLERANCE * expected.abs().max()).all())
    return scale if same else None


def _random_mask(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if kind == "add":
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    mask = torch.rand(shape, generator=generator) < 0.3
    mask[..., 0] = False  # a row without any score left is no number
    return mask


def _scales(found: _Found, values: Mapping[fx.Node, Any], given: Mapping[fx.Node, Any]) -> Iterator[float]:
    """What scores are multiplied with before a mask is added, told by the values."""
    product = given[found.query] @ given[found.key].transpose(-2, -1)
    masked = next((node for node in found.nodes if found.mask is not None and found.mask.node in node.all_input_nodes), None)
    softmax = next(node for node in found.nodes if name_of(node) == "softmax" or node.op == "call_module" and node not in given)
    scores_node = _operand(softmax) if masked is None else next(node for node in masked.all_input_nodes if found.mask is None or node is not found.mask.node)
    scores = values.get(scores_node) if scores_node is not None else None
    if isinstance(scores, torch.Tensor) and scores.shape == product.shape:
        at = product.abs().argmax()
        yield float(scores.flatten()[at] / product.flatten()[at])
