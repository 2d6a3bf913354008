"""Normalizations written out in ``forward``: mean, variance, square root and what is multiplied and added behind them.

As with activations, what is computed counts and not how: the operations are run on random numbers in double precision and compared with
``layer_norm``, ``rms_norm`` and ``log_softmax`` or ``softmax`` over the same axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import fx

from normadvisor.graph.written.cones import Cone, cones
from normadvisor.graph.written.elementwise import ELEMENTWISE
from normadvisor.graph.written.model import Surroundings, Written, constant_scalar, name_of
from normadvisor.graph.written.values import CASTS, computed

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["norm_at"]

_REDUCTIONS = frozenset({"mean", "var", "std", "sum", "var_mean", "std_mean", "norm", "vector_norm", "logsumexp", "amax", "max", "softmax", "log_softmax"})
_ADMITTED = ELEMENTWISE | _REDUCTIONS | CASTS | {"size", "shape", "getitem", "dtype", "dim", "ndim", "unsqueeze"}
_TOLERANCE = 1e-6
"""Relative to the largest value."""
_MOST_EPS = 1e-2
_MOST_WIDTH = 1 << 14


def norm_at(root: fx.Node, around: Surroundings) -> Written | None:
    """The largest expression that ends in a node and is a normalization or a softmax that torch has a function for.

    Args:
        root: the node.
        around: its graph; shapes are needed.

    """
    if name_of(root) not in ELEMENTWISE | CASTS or around.shape(root) is None:
        return None
    candidates = list(cones(root, around, lambda node: name_of(node) in _ADMITTED))
    for cone in reversed(candidates):
        if any(name_of(node) in _REDUCTIONS for node in cone.nodes) and (found := _identified(cone, around)) is not None:
            return found
    return None


def _identified(cone: Cone, around: Surroundings) -> Written | None:
    shape = around.shape(cone.source)
    if not shape or len(shape) < 2 or shape != around.shape(cone.root) or not 1 < shape[-1] <= _MOST_WIDTH or len(cone.tensors) > 2:
        return None
    generator = torch.Generator().manual_seed(0)
    tensors = {node: _stand_in(around.tensor(node), generator) for node in cone.tensors}
    if any(value is None for value in tensors.values()):
        return None
    axis = len(shape) - 1
    sizes = [shape[-1] if place == axis else 2 + place for place in range(len(shape))]
    x = torch.randn(sizes, generator=generator, dtype=torch.float64) * 2 + 0.5
    y = _run(cone, x, tensors, around)
    if y is None:
        return None
    for op, function, arguments, inputs in _hypotheses(cone, shape[-1], tensors):
        if not _agrees(y, _reference(op, x, arguments, inputs, tensors)):
            continue
        # A small input makes eps count, a shifted one tells apart what subtracts the mean.
        small = x * 1e-3 if arguments.get("eps") else x + 3
        again = _run(cone, small, tensors, around)
        if again is not None and _agrees(again, _reference(op, small, arguments, inputs, tensors)):
            given = {"input": cone.source, **inputs}
            return Written(op=op, function=function, root=cone.root, inputs=given, nodes=cone.nodes, arguments=arguments)
    return None


def _stand_in(tensor: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor | None:
    """Random numbers in place of a parameter."""
    if tensor is None or not tensor.is_floating_point() or tensor.numel() > _MOST_WIDTH:
        return None
    return torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5


def _run(cone: Cone, x: torch.Tensor, tensors: Mapping[fx.Node, Any], around: Surroundings) -> torch.Tensor | None:
    values = computed(cone.nodes, {cone.source: x, **tensors}, around)
    y = values[cone.root] if values is not None else None
    return y if isinstance(y, torch.Tensor) and y.shape == x.shape and y.dtype == torch.float64 else None


def _agrees(y: torch.Tensor, expected: torch.Tensor | None) -> bool:
    return expected is not None and bool(((y - expected).abs() <= _TOLERANCE * expected.abs().max()).all())


def _hypotheses(
    cone: Cone, width: int, tensors: Mapping[fx.Node, Any]
) -> Iterator[tuple[str, str, dict[str, JSONValue], dict[str, fx.Node]]]:
    """What it might be: operation, function, arguments, and which tensors are its weight and bias."""
    if not tensors:
        for op in ("log_softmax", "softmax"):
            yield op, f"torch.nn.functional.{op}", {"dim": -1}, {}
    if any(tuple(value.shape) != (width,) for value in tensors.values()):
        return
    roles: list[dict[str, fx.Node]] = [
        dict(zip(names, order, strict=True))
        for names in (("weight", "bias")[: len(tensors)], ("bias",)[: len(tensors)])
        for order in permutations(tensors)
        if len(names) == len(tensors)
    ]
    for eps in _numbers(cone):
        arguments: dict[str, JSONValue] = {"normalized_shape": [width], "eps": eps}
        for role in roles:
            if "bias" not in role:
                yield "rms_norm", "torch.nn.functional.rms_norm", arguments, role
            if role.keys() != {"bias"}:  # torch takes no bias without a weight
                yield "layer_norm", "torch.nn.functional.layer_norm", arguments, role


def _numbers(cone: Cone) -> list[float]:
    """Constants of the expression that may be an eps, none included."""
    found = {0.0}
    for node in cone.nodes:
        for value in (*node.args, *node.kwargs.values()):
            number = constant_scalar(value)
            if number is not None and 0 < number <= _MOST_EPS:
                found.add(number)
    return sorted(found, reverse=True)


def _reference(
    op: str, x: torch.Tensor, arguments: Mapping[str, Any], inputs: Mapping[str, fx.Node], tensors: Mapping[fx.Node, Any]
) -> torch.Tensor | None:
    if op == "softmax":
        return F.softmax(x, arguments["dim"])
    if op == "log_softmax":
        return F.log_softmax(x, arguments["dim"])
    weight, bias = (tensors[inputs[name]] if name in inputs else None for name in ("weight", "bias"))
    eps = arguments["eps"]
    if op == "layer_norm":
        return F.layer_norm(x, arguments["normalized_shape"], weight, bias, eps)
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight
