"""Layer and root-mean-square normalizations written out in ``forward``.

The part of a graph that ends in a node is run on random rows in double precision, some of them with variances as small as ``eps``, and
compared with torch's functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from normadvisor.graph.written.exact import CannotEvaluate, called, dtype_of, evaluated, is_fixed, is_in_place, is_tensor, shape_of
from normadvisor.graph.written.model import Surroundings, Written
from normadvisor.graph.written.softmaxes import softmax_at
from normadvisor.graph.written.spans import Parameters, Span, numbers, spans

__all__ = ["norm_at"]

_DEVIATIONS = frozenset({"rsqrt", "sqrt", "std", "std_mean", "norm", "vector_norm", "normalize", "pow"})
"""Where a deviation is computed."""
_LAST = frozenset({
    "add", "sub", "mul", "multiply", "div", "truediv", "true_divide", "divide", "float", "to", "type_as", "type", "half", "bfloat16",
})  # fmt: skip
"""What a normalization may end in."""
_INSIDE = _LAST | frozenset({
    "rsub", "pow", "rpow", "square", "sqrt", "rsqrt", "neg", "mean", "sum", "var", "std", "norm", "vector_norm", "normalize", "reciprocal",
    "var_mean", "std_mean", "getitem", "double", "contiguous", "clone", "unsqueeze", "expand_as",
})  # fmt: skip
_SMALL, _LARGE = (-4.0, 1.0), (3.0, 4.0)
"""Powers of ten that rows are scaled by: so that ``eps`` counts, and so that it does not."""
_EXACT, _LIKE = 1e-8, 1e-3
"""Relative, in double precision: the same, and the same but for ``eps`` or for one degree of freedom."""
_MOST = 1 << 18
"""Elements that are run; of larger inputs the axes ahead of the normalized ones are shortened."""


def norm_at(root: fx.Node, around: Surroundings) -> Written | None:
    """The largest expression that ends in a node and is a normalization or a softmax that torch has a function for.

    Its ``weight`` and ``bias`` may be expressions of parameters, as ``1 + weight``. Argument ``axes`` tells what is normalized over; where
    that is one axis ahead of the last, the function takes it only after the axes are permuted. Without a weight, which fixes
    the sizes of these axes, argument ``sizes`` is ``any`` where it is a normalization for all sizes, and ``fixed`` where numbers in the
    source make it one for these sizes alone. Argument ``widens`` is set where half precision would come out as single precision, which
    torch's function does not do.

    Args:
        root: the node.
        around: its graph; shapes are needed.

    """
    found = softmax_at(root, around)
    if found is not None or called(root) not in _LAST or not _expands(root):
        return found
    parameters = Parameters.around(around)
    refused: Written | None = None
    for span in reversed(list(spans(root, around.order, parameters, _expands))):
        if not any(called(node) in _DEVIATIONS for node in span.nodes) or not _keeps_dtype(span):
            continue
        found = _compared(span, around)
        if found is not None and not found.refused:
            return found
        refused = refused or found
    return refused


def _expands(node: fx.Node) -> bool:
    return called(node) in _INSIDE and not is_in_place(node) and (is_tensor(node) or called(node) in {"var_mean", "std_mean"})


def _keeps_dtype(span: Span) -> bool:
    """Whether what goes in, what comes out and the parameters have one dtype, and will have when the model is converted to another one."""
    if not shape_of(span.source) or shape_of(span.root) != shape_of(span.source) or dtype_of(span.root) != dtype_of(span.source):
        return False
    wide = _wide(span)
    if any(dtype_of(node) != dtype_of(span.source) for node in wide):
        return False
    if is_fixed(span.source):
        return is_fixed(span.root)
    return not any(is_fixed(node) for node in wide)


def _wide(span: Span) -> list[fx.Node]:
    """Parameters of more than one number."""
    return [node for node in span.parameters if math.prod(shape_of(node) or ()) > 1]


def _compared(span: Span, around: Surroundings) -> Written | None:
    """What the nodes compute; refused where it is nearly a function of torch."""
    shape = shape_of(span.source) or ()
    wide = _wide(span)
    if len(wide) > 2:
        return None
    for axes in _axes(shape, wide):
        if math.prod(shape[axis] for axis in axes) < 2:
            continue
        try:
            small, large = (_Sample(span, around, axes, scales) for scales in (_SMALL, _LARGE))
        except CannotEvaluate:
            return None
        for centred in (False, True):
            for weight, bias in _roles(wide, centred=centred):
                hypothesis = _Hypothesis(span, axes, centred, weight, bias)
                found = _fitted(hypothesis, small, large)
                if found is not None and (found.refused or _holds_beyond_one(found, hypothesis, around)):
                    return found if weight is not None or found.refused else _with_sizes(found, hypothesis, around)
    return None


def _holds_beyond_one(found: Written, hypothesis: _Hypothesis, around: Surroundings) -> bool:
    """Whether it is the same where axes of one element have more: of these the recorded shapes do not tell whether it goes over them."""
    shape = shape_of(hypothesis.span.source) or ()
    if 1 not in shape:
        return True
    try:
        sample = _Sample(hypothesis.span, around, hypothesis.axes, _LARGE, tuple(2 if size == 1 else size for size in shape))
    except CannotEvaluate:
        return False
    return hypothesis.agrees(sample, hypothesis.unscaled(sample, float(str(found.arguments["eps"]))), _EXACT)


def _with_sizes(found: Written, hypothesis: _Hypothesis, around: Surroundings) -> Written:
    """The same with the argument ``sizes``, see :func:`norm_at`."""
    return replace(found, arguments={**found.arguments, "sizes": _sizes(hypothesis, around, float(str(found.arguments["eps"])))})


def _sizes(hypothesis: _Hypothesis, around: Surroundings, eps: float) -> str:
    span, axes = hypothesis.span, hypothesis.axes
    for more in (1, 4):
        shape = tuple(size + more + axis if axis in axes else size for axis, size in enumerate(shape_of(span.source) or ()))
        try:
            samples = [_Sample(span, around, axes, scales, shape) for scales in (_SMALL, _LARGE)]
        except CannotEvaluate:
            return "fixed"
        if not all(hypothesis.agrees(sample, hypothesis.unscaled(sample, eps), _EXACT) for sample in samples):
            return "fixed"
    return "any"


def _axes(shape: tuple[int, ...], wide: list[fx.Node]) -> Iterator[tuple[int, ...]]:
    """Axes that may be normalized over, as the shapes of the parameters allow: the last ones, or one further ahead."""
    rank = len(shape)
    sizes = [shape_of(node) or () for node in wide]
    for axes in [*[tuple(range(first, rank)) for first in range(rank - 1, 0, -1)], *[(axis,) for axis in range(1, rank - 1)]]:
        wanted = tuple(size if axis in axes else 1 for axis, size in enumerate(shape))
        if all((1,) * (rank - len(size)) + size == wanted for size in sizes):
            yield axes


def _roles(wide: list[fx.Node], *, centred: bool) -> Iterator[tuple[fx.Node | None, fx.Node | None]]:
    """Which of the parameters is the weight, and which the bias; torch takes a bias only with a weight, and only for layer_norm."""
    if not wide:
        yield None, None
    elif len(wide) == 1:
        yield wide[0], None
    elif centred:
        first, second = wide
        yield first, second
        yield second, first


class _Sample:
    """A part of a graph run once on random rows."""

    def __init__(
        self, span: Span, around: Surroundings, axes: tuple[int, ...], scales: tuple[float, float], shape: tuple[int, ...] | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        sizes = _shortened(shape or shape_of(span.source) or (), axes)
        rows = [1 if axis in axes else size for axis, size in enumerate(sizes)]
        low, high = scales
        factors = 10 ** (torch.rand(rows, generator=generator, dtype=torch.float64) * (high - low) + low)
        factors.view(-1)[0] = 10**low
        self.x = (torch.randn(sizes, generator=generator, dtype=torch.float64) + 0.3) * factors
        self.given: dict[fx.Node, torch.Tensor] = {}
        for node in span.parameters:
            size = shape_of(node) or ()
            real = around.tensor(node) if math.prod(size) == 1 else None
            drawn = torch.rand(size, generator=generator, dtype=torch.float64) + 0.5
            self.given[node] = drawn if real is None or real.is_meta else real.detach().double().cpu().reshape(size)
        self.y = evaluated(span.nodes, {span.source: self.x, **self.given})


def _shortened(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[int]:
    sizes = list(shape)
    for axis in range(len(sizes)):
        if axis not in axes and math.prod(sizes) > _MOST:
            sizes[axis] = min(sizes[axis], 3)
    return sizes


class _Hypothesis:
    """What a part of a graph might be."""

    def __init__(self, span: Span, axes: tuple[int, ...], centred: bool, weight: fx.Node | None, bias: fx.Node | None) -> None:  # noqa: FBT001
        self.span, self.axes, self.centred, self.weight, self.bias = span, axes, centred, weight, bias
        shape = shape_of(span.source) or ()
        self.sizes = [shape[axis] for axis in axes]

    def unscaled(self, sample: _Sample, eps: float) -> torch.Tensor:
        x = sample.x - sample.x.mean(self.axes, keepdim=True) if self.centred else sample.x
        y = x * (x.square().mean(self.axes, keepdim=True) + eps).rsqrt()
        return y if self.weight is None else y * sample.given[self.weight]

    def agrees(self, sample: _Sample, unscaled: torch.Tensor, tolerance: float) -> bool:
        expected = unscaled if self.bias is None else unscaled + sample.given[self.bias]
        found: Any = sample.y
        if not isinstance(found, torch.Tensor) or found.shape != expected.shape or not found.is_floating_point():
            return False
        scale = expected.abs().amax(self.axes, keepdim=True).clamp_min(1e-30)
        return bool(((found - expected).abs() <= tolerance * scale).all())

    def written(self, eps: float, refused: str = "") -> Written:
        op = "layer_norm" if self.centred else "rms_norm"
        inputs = {"input": self.span.source, "weight": self.weight, "bias": self.bias}
        widens = {"widens": True} if is_fixed(self.span.root) and not is_fixed(self.span.source) else {}
        return Written(
            op=op,
            function=f"torch.nn.functional.{op}",
            root=self.span.root,
            inputs={name: node for name, node in inputs.items() if node is not None},
            nodes=self.span.nodes,
            arguments={"normalized_shape": list(self.sizes), "eps": eps, "axes": list(self.axes), **widens},
            refused=refused,
        )


def _fitted(hypothesis: _Hypothesis, small: _Sample, large: _Sample) -> Written | None:
    count = math.prod(hypothesis.sizes)
    plain = hypothesis.unscaled(large, 0.0)
    if not hypothesis.agrees(large, plain, _LIKE / 10):
        with_one_less = plain * math.sqrt((count - 1) / count)
        if hypothesis.centred and hypothesis.agrees(large, with_one_less, _LIKE / 10):
            return hypothesis.written(0.0, "its standard deviation divides by n - 1, and that of torch's layer_norm by n")
        return None
    for eps in _epsilons(hypothesis.span, count):
        if hypothesis.agrees(small, hypothesis.unscaled(small, eps), _EXACT):
            return hypothesis.written(eps)
    op = "layer_norm" if hypothesis.centred else "rms_norm"
    return hypothesis.written(0.0, f"its eps is not added to the variance, as {op} of torch does")


def _epsilons(span: Span, count: int) -> list[float]:
    """Numbers that could be ``eps``; of a vector that is divided by its length it bounds the length."""
    found = [value for value in numbers(span.nodes) if 0 < value < 0.1]
    if any(called(node) == "normalize" for node in span.nodes):
        found += [value**2 / count for value in [*found, 1e-12]]
    return [*found, 0.0]
