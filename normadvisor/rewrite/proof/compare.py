"""How far two passes are apart, entry by entry, relative to the size of what is compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.proof.passes import Observed

__all__ = ["Compared", "differences", "expected", "gradients_lost"]

_FLOOR = 1e-4
"""Smallest scale a tensor is measured by, as a share of the largest entry among its kind (outputs, gradients, buffers).

A gradient that is zero in exact arithmetic, such as that of another bias in front of a norm, is rounding noise of sums whose terms are as
large as other gradients; measured by itself it would differ by 100%.
"""

_TOTAL = 1.0
"""The difference between what cannot be subtracted."""
_PIECE = 1 << 20
"""Elements that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that both passes gave."""

    kind: str
    """``output``, ``input gradient``, ``gradient`` or ``buffer``."""
    name: str
    error: float
    """Largest difference, relative to the scale; one where shapes, types or finiteness differ."""
    words: str = ""
    """What differs, where it is not a matter of size."""

    def __str__(self) -> str:
        """``the gradient of conv.weight differs by 3e-02``."""
        what = {"output": "output", "input gradient": "gradient of input", "gradient": "gradient of", "buffer": "buffer"}[self.kind]
        return f"the {what} {self.name} {self.words or f'differs by {self.error:.0e} of its largest entry'}"


def expected(observed: Observed, key_map: KeyMap) -> Observed:
    """What the changed model should give where the original gives ``observed``: everything under its new name."""
    gradients = {new: gradient for key, gradient in observed.gradients.items() if (new := key_map.new_name(key)) is not None}
    return type(observed)(observed.outputs, observed.input_gradients, gradients, key_map.apply(observed.after), observed.differentiable)


def gradients_lost(observed: Observed, key_map: KeyMap) -> Iterator[Compared]:
    """Gradients of parameters that the changed model does not have, compared with zero: they must not have mattered."""
    largest = _largest([*observed.input_gradients, *_gradients(observed).values()])
    for key, gradient in observed.gradients.items():
        if key_map.new_name(key) is None and gradient is not None:
            yield Compared("gradient", key, _peak(gradient) / largest if largest else 0.0, "is not zero, though the parameter is gone")


def differences(one: Observed, other: Observed, *, copied: Mapping[str, str] | None = None) -> Iterator[Compared]:
    """Compare two passes, the one that is right first.

    Args:
        one: what should be.
        other: what is, under the same names.
        copied: keys of the second whose gradients add up to that of a key of the first.

    """
    if len(one.outputs) != len(other.outputs):
        words = f"is missing: the original gives {len(one.outputs)} tensors, the changed model {len(other.outputs)}"
        yield Compared("output", str(min(len(one.outputs), len(other.outputs))), _TOTAL, words)
        return
    yield from _all("output", _numbered(one.outputs), _numbered(other.outputs), _largest(one.outputs))
    # Where a norm makes the output constant, all gradients before it are noise, that of the input too.
    steepest = _largest([*one.input_gradients, *_gradients(one).values()])
    yield from _all("input gradient", _numbered(one.input_gradients), _numbered(other.input_gradients), steepest)
    found = _gradients(other)
    for new, old in (copied or {}).items():
        if old in found and new in found:
            found[old] = found[old] + found.pop(new)
    yield from _all("gradient", _gradients(one), found, steepest)
    before, after = ({key: value for key, value in each.after.items() if key not in each.gradients} for each in (one, other))
    yield from _all("buffer", before, after, _largest(before.values()))


def _numbered(tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(index): tensor for index, tensor in enumerate(tensors)}


def _gradients(observed: Observed) -> dict[str, torch.Tensor]:
    """Gradients by key; that of a parameter no output depends on is zero."""
    return {key: torch.zeros(()) if gradient is None else gradient for key, gradient in observed.gradients.items()}


def _all(kind: str, one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], largest: float) -> Iterator[Compared]:
    floor = _FLOOR * largest
    for key, tensor in one.items():
        if key not in other:
            continue  # keys were compared as the state was carried over; what a copy stands for is added up
        yield _compare(kind, key, tensor, other[key], max(_peak(tensor), floor))


def _compare(kind: str, key: str, one: torch.Tensor, other: torch.Tensor, scale: float) -> Compared:
    # A gradient that is not there is a zero without a shape.
    absent = kind == "gradient" and not (one.dim() and other.dim())
    if not absent and (one.shape != other.shape or one.dtype != other.dtype):
        return Compared(kind, key, _TOTAL, f"is {_form(other)} instead of {_form(one)}")
    if not (one.is_floating_point() or one.is_complex()):
        return Compared(kind, key, 0.0 if torch.equal(one, other) else _TOTAL, "holds other whole numbers")
    one, other = (one, other.expand_as(one)) if one.dim() else (one.expand_as(other), other)
    largest = 0.0
    for left, right in zip(_pieces(one), _pieces(other), strict=True):
        apart = _bound(left - right)
        if not math.isfinite(apart):
            if not torch.equal(left.isfinite(), right.isfinite()):
                return Compared(kind, key, _TOTAL, "is not finite at the same places")
            apart = _peak((left - right)[left.isfinite()])
        largest = max(largest, apart)
    return Compared(kind, key, (largest / scale if scale else _TOTAL) if largest else 0.0)


def _form(tensor: torch.Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'a scalar'} of {str(tensor.dtype).removeprefix('torch.')}"


def _largest(tensors: Iterable[torch.Tensor]) -> float:
    return max((_peak(tensor) for tensor in tensors), default=0.0)


def _peak(tensor: torch.Tensor) -> float:
    """Largest finite entry by size."""
    if not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return 0.0
    largest = 0.0
    for piece in _pieces(tensor):
        bound = _bound(piece)
        largest = max(largest, bound if math.isfinite(bound) else _bound(torch.where(piece.isfinite(), piece, 0.0)))
    return largest


def _bound(tensor: torch.Tensor) -> float:
    """Largest entry by size; not finite if any entry is not. Much faster than asking each."""
    if not tensor.numel():
        return 0.0
    low, high = torch.view_as_real(tensor).aminmax() if tensor.is_complex() else tensor.aminmax()
    return max(abs(float(low)), abs(float(high)))


def _pieces(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """A tensor bit by bit, so that comparing large ones takes little memory."""
    return torch.split(tensor.flatten(), _PIECE)
