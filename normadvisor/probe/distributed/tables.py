"""Numbers of all ranks, joined key by key: each rank contributes sums and largest values, from which each finds the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch

from normadvisor.probe.distributed.vocabulary import Way

if TYPE_CHECKING:
    from normadvisor.probe.distributed.link import Link

__all__ = ["Joined", "Table", "exchange"]

Row: TypeAlias = Mapping[str, Sequence[float | None]]

_BY_PARTS = frozenset({Way.PARTS, Way.PARTS_RMS, Way.PARTS_RATIO, Way.PARTS_SUM})
_BY_SAMPLES = frozenset({Way.SAMPLES, Way.SAMPLES_RMS, Way.SPREAD, Way.LOSS_GRADIENT_RMS})
_PLAIN = frozenset({Way.PARTS_SUM, Way.SAMPLES, Way.MEAN, Way.SUM, Way.MAX, Way.MIN, Way.ALL, Way.ANY})
"""Ways that add up numbers rather than their squares."""


@dataclass(slots=True, kw_only=True)
class Table:
    """Numbers of this rank: for each key, a value or ``None`` for each row (a layer, or the run) and step."""

    ways: Mapping[str, Way]
    rows: Sequence[Row]
    steps: int
    world_size: int
    copies: Sequence[int | None] = ()
    """By row: how many ranks hold the same part of its parameters; ``None`` where that cannot be said."""
    samples: Sequence[int] = ()
    """By step: size of this rank's batch; 1 where it is missing."""
    keys: list[str] = field(init=False)
    values: torch.Tensor = field(init=False)
    """(keys, rows, steps), 0 where unknown."""
    known: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.keys = [key for key, way in self.ways.items() if way is not Way.FIRST]
        cells = [[_padded(row.get(key, ()), self.steps) for row in self.rows] for key in self.keys]
        shape = (len(self.keys), len(self.rows), self.steps)
        flat = [value for of_key in cells for of_row in of_key for value in of_row]
        self.known = torch.tensor([value is not None for value in flat], dtype=torch.bool).view(shape)
        self.values = torch.tensor([0.0 if value is None else float(value) for value in flat], dtype=torch.float64).view(shape)

    def sums(self) -> torch.Tensor:
        """What is added up over the ranks: weights, and numbers or squares times these: (2, keys, rows, steps)."""
        weights, terms = [], []
        for position, key in enumerate(self.keys):
            weight = self._weight(self.ways[key]) * self.known[position]
            term = self._term(self.ways[key], self.values[position])
            weights.append(weight)
            # A weight of zero leaves out what is not a number, too.
            terms.append(torch.where(weight > 0, weight * term, 0.0))
        return torch.stack([torch.stack(weights), torch.stack(terms)]) if self.keys else torch.zeros(2, 0, len(self.rows), self.steps)

    def largest(self) -> torch.Tensor:
        """Of what the largest over the ranks is wanted: numbers and their negatives, (2, keys, rows, steps)."""
        low = torch.full_like(self.values, -torch.inf)
        finite = torch.where(self.values.isnan(), torch.inf, self.values)
        return torch.stack([torch.where(self.known, finite, low), torch.where(self.known, -finite, low)])

    def _weight(self, way: Way) -> torch.Tensor:
        ones = torch.ones(len(self.rows), self.steps, dtype=torch.float64)
        if way in _BY_PARTS:
            parts = torch.tensor([1 / count if count else 0.0 for count in self.copies], dtype=torch.float64)
            weight = ones * parts.view(-1, 1)
            return weight * self._of("weight_norm").square() if way is Way.PARTS_RATIO else weight
        if way in _BY_SAMPLES:
            sizes = [*self.samples[: self.steps], *([1] * (self.steps - len(self.samples)))]
            return ones * torch.tensor(sizes, dtype=torch.float64)
        return ones

    def _term(self, way: Way, values: torch.Tensor) -> torch.Tensor:
        if way in _PLAIN:
            return values
        if way is Way.SPREAD:
            return values.square() + self._of("act_mean").square()
        return values.square()

    def _of(self, key: str) -> torch.Tensor:
        return self.values[self.keys.index(key)]


@dataclass(frozen=True, slots=True)
class Joined:
    """What a table has become with those of the other ranks."""

    table: Table
    weights: torch.Tensor
    terms: torch.Tensor
    highest: torch.Tensor
    """Largest values over the ranks; infinite where nothing is known."""
    lowest: torch.Tensor

    def series(self, row: int) -> dict[str, list[float | None]]:
        """Numbers of a row by key, without keys that no rank knows."""
        found: dict[str, list[float | None]] = {}
        for position, key in enumerate(self.table.keys):
            known = self.highest[position, row] > -torch.inf
            known |= self.lowest[position, row] < torch.inf
            known &= self.weights[position, row] > 0
            if bool(known.any()):
                numbers = self._result(position, row).tolist()
                found[key] = [number if is_known else None for number, is_known in zip(numbers, known.tolist(), strict=True)]
        return found

    def gap(self, key: str) -> torch.Tensor:
        """Largest relative difference between ranks, (rows, steps); 0 where nothing is known or not finite."""
        high, low = self.highest[self.table.keys.index(key)], self.lowest[self.table.keys.index(key)]
        gap = (high - low) / high
        return torch.where(gap.isfinite() & (high > 0), gap, 0.0)

    def _result(self, position: int, row: int) -> torch.Tensor:
        way = self.table.ways[self.table.keys[position]]
        weight, term, ranks = self.weights[position, row], self.terms[position, row], self.table.world_size
        mean = term / weight
        if way in {Way.MAX, Way.ANY}:
            return torch.where(term.isnan(), torch.nan, self.highest[position, row])
        if way in {Way.MIN, Way.ALL}:
            return torch.where(term.isnan(), torch.nan, self.lowest[position, row])
        if way is Way.SUM:
            return term
        if way in {Way.SAMPLES, Way.MEAN}:
            return mean
        if way is Way.LOSS_GRADIENT:
            return term.sqrt() / ranks
        if way is Way.LOSS_GRADIENT_RMS:
            return mean.sqrt() / ranks
        if way is Way.SPREAD:
            joint = self.table.keys.index("act_mean")
            centre = self.terms[joint, row] / self.weights[joint, row]
            return (mean - centre.square()).clamp_min(0).sqrt()
        if way in {Way.PARTS, Way.PARTS_SUM} and self.table.copies[row] != ranks:
            mean = term
        return mean if way is Way.PARTS_SUM else mean.sqrt()


def exchange(tables: Sequence[Table], link: Link) -> list[Joined]:
    """Join tables of the same keys, rows and steps with those of the other ranks.

    Raises:
        RankError: a rank is gone, or does not answer in time.

    """
    sums, largest = [table.sums() for table in tables], [table.largest() for table in tables]
    total = link.sum(torch.cat([part.reshape(-1) for part in sums]).to(link.device)).cpu()
    most = link.max(torch.cat([part.reshape(-1) for part in largest]).to(link.device)).cpu()
    sizes = [part.numel() for part in sums]
    found = []
    for table, added, high in zip(tables, torch.split(total, sizes), torch.split(most, sizes), strict=True):
        shape = (2, *table.values.shape)
        (weights, terms), (highest, negative) = added.view(shape), high.view(shape)
        found.append(Joined(table, weights, terms, highest, -negative))
    return found


def _padded(values: Sequence[float | None], steps: int) -> list[float | None]:
    return [*values[:steps], *([None] * (steps - len(values)))]
