"""Which channel of a norm each channel of a layer belongs to, as numbers that travel through reshapes, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["UNTOUCHED", "Laid", "decode", "encode"]

UNTOUCHED = -1
"""Stands for channels that a norm has nothing to do with."""


@dataclass(frozen=True, slots=True)
class Laid:
    """How the channels of a norm lie in a value: along one axis, the same wherever the other axes stand."""

    shape: tuple[int, ...]
    axis: int
    ids: torch.Tensor
    """Channel of the norm at each place along the axis, int64, :data:`UNTOUCHED` where there is none."""

    @classmethod
    def of(cls, shape: Sequence[int], axis: int, channels: int) -> Laid | None:
        """Every channel once, in order; ``None`` where the axis has another size."""
        rank = len(shape)
        if not -rank <= axis < rank or shape[axis] != channels:
            return None
        return cls(tuple(shape), axis % rank, torch.arange(channels))

    def full(self) -> torch.Tensor:
        """The channel of every element."""
        lined = self.ids.reshape([-1 if place == self.axis else 1 for place in range(len(self.shape))])
        return lined.expand(self.shape)

    @classmethod
    def found(cls, full: torch.Tensor) -> Laid | None:
        """Back from the channel of every element; ``None`` if they lie along no single axis."""
        if not full.numel():
            return None
        for axis in sorted(range(full.dim()), key=lambda place: -full.shape[place]):
            rows = full.movedim(axis, 0).reshape(full.shape[axis], -1)
            if bool((rows == rows[:, :1]).all()):
                return cls(tuple(full.shape), axis, rows[:, 0].clone())
        return None

    def reshaped(self, shape: Sequence[int]) -> Laid | None:
        """Behind (or in front of) an operation that keeps the order of the elements."""
        if math.prod(shape) != math.prod(self.shape):
            return None
        if tuple(shape) == self.shape:
            return self
        return self.found(self.full().reshape(tuple(shape)))

    def permuted(self, order: Sequence[int]) -> Laid:
        """Behind a permutation that takes its axis ``i`` from axis ``order[i]``."""
        return type(self)(tuple(self.shape[place] for place in order), list(order).index(self.axis), self.ids)

    def resized(self, shape: Sequence[int]) -> Laid | None:
        """In a value of another width, height or batch size, whose channels are the same."""
        if len(shape) != len(self.shape) or shape[self.axis] != self.shape[self.axis]:
            return None
        return type(self)(tuple(shape), self.axis, self.ids)

    def sliced(self, first: int, count: int, shape: Sequence[int]) -> Laid:
        """One part of what stands side by side along the axis."""
        return type(self)(tuple(shape), self.axis, self.ids[first : first + count])

    def widened(self, first: int, shape: Sequence[int]) -> Laid:
        """As one part, from place ``first`` on, of what stands side by side along the axis; the rest is :data:`UNTOUCHED`."""
        ids = torch.full((shape[self.axis],), UNTOUCHED)
        ids[first : first + len(self.ids)] = self.ids
        return type(self)(tuple(shape), self.axis, ids)


def encode(ids: torch.Tensor, channels: int) -> Any:
    """As JSON: ``None`` for all channels in order, a rule where there is one, else the list."""
    count = len(ids)
    if count == channels and torch.equal(ids, torch.arange(channels)):
        return None
    first = int(ids[0]) if count else 0
    if first != UNTOUCHED:
        length = len(set(ids.tolist()))
        repeats = next((place for place in range(count) if int(ids[place]) != first), count)
        if first + length <= channels and count % (length * repeats) == 0:
            rule = {"first": first, "count": length, "repeats": repeats, "tiles": count // (length * repeats)}
            if torch.equal(decode(rule, channels), ids):
                return rule
    return ids.tolist()


def decode(told: Any, channels: int) -> torch.Tensor:
    """Back from what :func:`encode` gave.

    Raises:
        ValueError: it names channels that the norm does not have.

    """
    if told is None:
        return torch.arange(channels)
    if isinstance(told, Mapping):
        ids = torch.arange(told["first"], told["first"] + told["count"]).repeat_interleave(told["repeats"]).repeat(told["tiles"])
    else:
        ids = torch.tensor(told, dtype=torch.int64)
    if bool(((ids < UNTOUCHED) | (ids >= channels)).any()):
        message = f"there are {channels} channels, of which {told!r} names others"
        raise ValueError(message)
    return ids
