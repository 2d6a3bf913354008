"""Random inputs of the shapes that a model takes, made smaller where it takes that too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from normadvisor.graph.values import map_tensors, tensors_in

__all__ = ["SIDE", "SLICE_SIDE", "Arguments", "Shape", "draw", "shapes"]

_FEW = 4
"""Samples in a batch of large ones: enough for the statistics of a batch over small maps to be well conditioned."""
_MORE = 8
"""Samples in a batch of small ones, whose statistics have nothing but the batch to go over."""
_SMALL = 1 << 14
"""Elements up to which a sample is small."""
SIDE = 64
"""Height and width that larger maps are reduced to; five halvings leave a map that still has more than one value."""
SLICE_SIDE = 8
"""The same for a few layers in a row, few of which halve it."""
_STEP = 32
"""Sizes are multiples of this where they can be: what was halved five times can be doubled again to what it was."""


_MAP = 4
"""Axes of a batch of maps."""


class Arguments(Protocol):
    """Arguments of ``forward``, such as :class:`normadvisor.targets.inputs.Inputs`."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional ones."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Those by name."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the shapes of the given inputs are changed."""

    batch: tuple[int, int] | None = None
    """Old and new first size."""
    side: int = 0
    """What the shorter of the last two sizes of larger maps becomes; 0 leaves them as they are."""
    halvings: int = 0
    """How often the last two sizes of larger maps are halved instead."""

    def of(self, tensor: torch.Tensor) -> tuple[int, ...]:
        """The shape that a tensor of this kind gets."""
        sizes = list(tensor.shape)
        if self.batch is not None and sizes and sizes[0] == self.batch[0]:
            sizes[0] = self.batch[1]
        if len(sizes) >= _MAP and tensor.is_floating_point():
            sizes[-2:] = self._reduced(sizes[-2:])
        return tuple(sizes)

    def _reduced(self, sizes: list[int]) -> list[int]:
        shorter = min(sizes)
        if self.halvings and shorter >> self.halvings >= SIDE:
            return [size >> self.halvings for size in sizes]
        if self.side and shorter > self.side:
            step = min(_STEP, self.side)
            return [max(1, round(size * self.side / shorter / step)) * step for size in sizes]
        return sizes


def shapes(inputs: Arguments, side: int = SIDE) -> list[Shape]:
    """Shapes to try, the best first; the last is that of the inputs themselves."""
    tensors = list(tensors_in((inputs.args, dict(inputs.kwargs))))
    shorter = [min(tensor.shape[-2:]) for tensor in tensors if tensor.dim() >= _MAP and tensor.is_floating_point()]
    largest_side = max(shorter, default=0)
    batch = _batch(tensors)
    found: list[Shape] = []
    reductions = {(each, 0) if each < largest_side else (0, 0): None for each in (side, SIDE)}
    halvings = max(0, (largest_side // SIDE).bit_length() - 1)
    for reduced in dict.fromkeys((*reductions, (0, halvings), (0, 0))):
        if batch is not None:
            of_sample = _sample(tensors, Shape(None, *reduced))
            wanted = _MORE if of_sample <= _SMALL else _FEW
            found += [Shape((batch, size), *reduced) for size in (wanted, 2) if size != batch]
        found.append(Shape(None, *reduced))
    return found


def _sample(tensors: list[torch.Tensor], shape: Shape) -> int:
    """Elements of the largest input once it is reduced, per sample."""
    return max(math.prod(shape.of(tensor)[1:]) for tensor in tensors)


def _batch(tensors: list[torch.Tensor]) -> int | None:
    """The first size that all tensors share; ``None`` where there is no such size."""
    sizes = {tensor.shape[0] for tensor in tensors if tensor.dim() > 1}
    return sizes.pop() if len(sizes) == 1 else None


def draw(inputs: Arguments, shape: Shape, seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs in double precision on the CPU: floating ones normally distributed, integers within the range of the given ones.

    Flags and masks are kept where their shape is, and are all set where it changes: a random mask may leave nothing to attend to.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(tensor: torch.Tensor) -> torch.Tensor:
        sizes = shape.of(tensor)
        if tensor.is_complex():
            return torch.randn(sizes, dtype=torch.complex128, generator=generator)
        if tensor.is_floating_point():
            return torch.randn(sizes, dtype=torch.float64, generator=generator)
        if tensor.dtype is torch.bool:
            same = not tensor.is_meta and tuple(tensor.shape) == sizes
            return tensor.cpu().clone() if same else torch.ones(sizes, dtype=torch.bool)
        low, high = _range(tensor)
        if not sizes:
            return torch.full(sizes, high, dtype=tensor.dtype)
        return torch.randint(low, high + 1, sizes, generator=generator).to(tensor.dtype)

    return map_tensors(tuple(inputs.args), drawn), map_tensors(dict(inputs.kwargs), drawn)


def _range(tensor: torch.Tensor) -> tuple[int, int]:
    """Smallest and largest value of an integer tensor; 0 and 1, which any embedding knows, where it has no values."""
    if tensor.is_meta or not tensor.numel():
        return 0, 1
    return int(tensor.min()), int(tensor.max())
