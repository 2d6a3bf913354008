"""Runs what looks like attention on random numbers, and compares it with the function of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from normadvisor.graph.written.exact import is_tensor, number_of, shape_of
from normadvisor.graph.written.forms import form_of
from normadvisor.graph.written.model import Surroundings
from normadvisor.graph.written.values import computed

__all__ = ["Trial"]

_TOLERANCE = 1e-8
_WIDEST = 1 << 12
"""Positions and features up to which attention is run."""
_MOST_KNOWN = 1 << 10
_known: dict[tuple[Any, ...], float | None] = {}
"""Results by the form of the nodes."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """Nodes that may compute attention.

    Args:
        nodes: of a graph, the product with the values last.
        inputs: by the names that :class:`~normadvisor.graph.written.Written` gives them.
        axes: how operands and the result are permuted.
        masks: kinds of the masks, the one of ``attn_mask`` first.
        factor: ``mul`` or ``div``, what the learned factor does; empty without one.
        scaled: the node whose value are the scores when they have been scaled, and not masked yet.
        around: the graph.

    """

    nodes: tuple[fx.Node, ...]
    inputs: Mapping[str, fx.Node]
    axes: Mapping[str, list[int]]
    masks: Sequence[str]
    factor: str
    scaled: fx.Node
    around: Surroundings

    def scale(self) -> float | None:
        """What scores are multiplied with, if the nodes compute attention with it; ``None`` if they do not."""
        form = self._form()
        if form not in _known:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[form] = self._scale()
        return _known[form]

    def _form(self) -> tuple[Any, ...]:
        """All that the result hangs on; every block of a model has the same."""
        told: dict[fx.Node, Any] = {node: (name, shape_of(node)) for name, node in self.inputs.items()}
        told.update({source: repr(number_of(source)) for source in self._numbers() if source not in told})
        axes = tuple((name, tuple(order)) for name, order in self.axes.items())
        inputs = tuple((name, shape_of(node)) for name, node in self.inputs.items())
        return form_of(self.nodes, told, self.around), inputs, axes, tuple(self.masks), self.factor, self.nodes.index(self.scaled)

    def _numbers(self) -> list[fx.Node]:
        """Values from outside that are no tensors."""
        return [source for node in self.nodes for source in node.all_input_nodes if source not in self.nodes and not is_tensor(source)]

    def _scale(self) -> float | None:
        generator = torch.Generator().manual_seed(0)
        shapes = {name: shape_of(node) for name, node in self.inputs.items()}
        q = shapes["query"]
        if q is None or len(q) not in {3, 4} or any(shape is None or max(shape, default=0) > _WIDEST for shape in shapes.values()):
            return None
        few = self._few(len(q))
        given: dict[fx.Node, Any] = {}
        kinds = {f"attn_mask_{number}" if number else "attn_mask": kind for number, kind in enumerate(self.masks)}
        for name, node in self.inputs.items():
            sizes = [min(size, 2) if name in few and axis in few[name] else size for axis, size in enumerate(shapes[name] or ())]
            given[node] = _drawn(sizes, kinds.get(name, ""), generator)
        given.update({source: number_of(source) for source in self._numbers()})
        values = computed(self.nodes, given, self.around)
        return None if values is None else self._compared(values, given)

    def _few(self, rank: int) -> dict[str, list[int]]:
        """Axes of samples and heads, of which two are enough, by the name of the operand."""
        if self.axes or self.masks or self.factor:
            return {}
        return {name: list(range(rank - 2)) for name in ("query", "key", "value")}

    def _compared(self, values: dict[fx.Node, Any], given: dict[fx.Node, Any]) -> float | None:
        query, key, value = (self._permuted(given[self.inputs[name]], f"{name}_axes") for name in ("query", "key", "value"))
        if self.factor:
            factor = given[self.inputs["factor"]]
            query = query * factor if self.factor == "mul" else query / factor
        try:
            product = query @ key.transpose(-2, -1)
            scaled = values[self.scaled]
            at = product.abs().argmax()
            scale = float(f"{float(scaled.flatten()[at] / product.flatten()[at]):.12g}")  # 1 rather than 1.0000000000000018
            expected = F.scaled_dot_product_attention(query, key, value, attn_mask=self._mask(given), scale=scale)
        except (RuntimeError, AttributeError, IndexError):
            return None
        expected = self._permuted(expected, "output_axes")
        found = values[self.nodes[-1]]
        same = found.shape == expected.shape and bool(((found - expected).abs() <= _TOLERANCE * expected.abs().max()).all())
        return scale if same else None

    def _permuted(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        return tensor.permute(self.axes[name]) if name in self.axes else tensor

    def _mask(self, given: dict[fx.Node, Any]) -> torch.Tensor | None:
        mask: torch.Tensor | None = None
        for number, kind in enumerate(self.masks):
            tensor = given[self.inputs[f"attn_mask_{number}" if number else "attn_mask"]]
            if kind in {"add", "subtract"}:
                part = tensor if kind == "add" else -tensor
            else:
                dropped = tensor if kind == "drop" else ~tensor
                part = torch.zeros(dropped.shape, dtype=torch.float64).masked_fill(dropped, -math.inf)
            mask = part if mask is None else mask + part
        return mask


def _drawn(sizes: Sequence[int], kind: str, generator: torch.Generator) -> torch.Tensor:
    if kind in {"drop", "keep"}:
        mask = torch.rand(list(sizes), generator=generator) < 0.3
        mask[..., 0] = False  # a row without any score left is no number
        return mask if kind == "drop" else ~mask
    return torch.randn(list(sizes), generator=generator, dtype=torch.float64)
