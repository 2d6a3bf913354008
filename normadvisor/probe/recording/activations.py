"""What is measured of one output of a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from normadvisor.probe.recording.norms import flat
from normadvisor.probe.recording.transfer import Transfer
from normadvisor.probe.recording.units import Flat

__all__ = ["Run", "Samples", "call_growth", "exact_moments", "extremes", "joined"]

_ROWS = 16
"""Samples that are reduced together: few enough to stay in the processor's cache."""
_BLOCK = 1 << 20


@dataclass(slots=True, eq=False)
class Run:
    """Numbers of one output; those that are not known yet are ``None`` or not a number."""

    size: int
    mean: float = math.nan
    variance: float = math.nan
    """Over all values, not corrected."""
    zero: float = math.nan
    """Share of values."""
    saturated: float | None = None
    between: float | None = None
    """Variance over the samples of the batch, mean over values."""
    low: float | None = None
    high: float | None = None
    nonfinite: int | None = None

    def receive_moments(self, numbers: Sequence[float]) -> None:
        """Take mean, variance, share of zeros and share of saturated values."""
        self.mean, self.variance, self.zero = numbers[:3]
        if self.saturated is not None:
            self.saturated = numbers[3]

    def receive_between(self, numbers: Sequence[float]) -> None:
        """Take the variance over samples."""
        self.between = numbers[0]

    def receive_low(self, numbers: Sequence[float]) -> None:
        """Take the smallest value."""
        self.low = numbers[0]

    def receive_high(self, numbers: Sequence[float]) -> None:
        """Take the largest value."""
        self.high = numbers[0]

    def receive_nonfinite(self, numbers: Sequence[float]) -> None:
        """Take how many values are not finite."""
        self.nonfinite = int(numbers[0])


def extremes(values: torch.Tensor, run: Run, transfer: Transfer, *, exact: bool) -> None:
    """Smallest and largest value of all; ``nan`` if there is one. Values that are not finite are counted where that needs no waiting."""
    low, high = torch.aminmax(values)
    if values.device.type != "cpu":
        transfer.add(low, run.receive_low)
        transfer.add(high, run.receive_high)
        if exact:
            transfer.add(torch.isfinite(values).logical_not().sum(), run.receive_nonfinite)
        return
    run.low, run.high = float(low), float(high)
    fine = math.isfinite(run.low) and math.isfinite(run.high)
    run.nonfinite = 0 if fine else values.numel() - int(torch.isfinite(values).sum())


class Samples:
    """Values of many outputs, reduced together at the end of the step."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[torch.device, torch.dtype, int], list[tuple[torch.Tensor, Run, Flat | None]]] = {}

    def add(self, sample: torch.Tensor, run: Run, parts: Flat | None) -> None:
        """Keep a sample, which nothing else may write to, until :meth:`reduce`."""
        self._waiting.setdefault((sample.device, sample.dtype, sample.numel()), []).append((sample.reshape(-1), run, parts))

    def reduce(self, transfer: Transfer) -> None:
        """Compute what :class:`Run` holds, and be empty again."""
        waiting, self._waiting = self._waiting, {}
        for entries in waiting.values():
            for start in range(0, len(entries), _ROWS):
                _reduce(entries[start : start + _ROWS], transfer)


def _reduce(entries: Sequence[tuple[torch.Tensor, Run, Flat | None]], transfer: Transfer) -> None:
    values = torch.stack([sample for sample, _, _ in entries])
    if values.dtype != torch.float64:
        values = values.float()
    number = values.shape[1]
    mean = values.mean(1)
    variance = torch.linalg.vector_norm(values - mean.unsqueeze(1), dim=1).square() / number
    zero = values.eq(0).to(values.dtype).mean(1)
    parts = [parts if parts is not None and run.saturated is not None else None for _, run, parts in entries]
    saturated = _saturated(values, parts) if any(parts) else torch.zeros_like(mean)
    runs = [run for _, run, _ in entries]

    def receive(numbers: Sequence[float]) -> None:
        for index, run in enumerate(runs):
            run.receive_moments(numbers[4 * index : 4 * index + 4])

    transfer.add(torch.stack([mean, variance, zero, saturated], dim=1), receive)


def _saturated(values: torch.Tensor, parts: Sequence[Flat | None]) -> torch.Tensor:
    low = values.new_tensor([-math.inf if each is None else each.low for each in parts]).unsqueeze(1)
    high = values.new_tensor([math.inf if each is None else each.high for each in parts]).unsqueeze(1)
    return ((values <= low) | (values >= high)).to(values.dtype).mean(1)


def exact_moments(values: torch.Tensor, run: Run, parts: Flat | None, transfer: Transfer) -> None:
    """Mean, variance and shares of all values in float64, block by block so that no large copy is made."""
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    blocks = torch.split(flat(values), _BLOCK)
    total = torch.stack([block.sum(dtype=wide) for block in blocks]).sum()
    mean = total / values.numel()
    variance = torch.stack([(block.to(wide) - mean).square().sum() for block in blocks]).sum() / values.numel()
    zero = torch.stack([block.eq(0).sum() for block in blocks]).sum().to(wide) / values.numel()
    saturated = torch.zeros_like(zero)
    if parts is not None and run.saturated is not None:
        counts = [((block <= parts.low) | (block >= parts.high)).sum() for block in blocks]
        saturated = torch.stack(counts).sum().to(wide) / values.numel()
    transfer.add(torch.stack([mean, variance, zero, saturated]), run.receive_moments)


def joined(runs: Sequence[Run]) -> dict[str, float]:
    """Numbers of several outputs as of one that holds all their values, by key of :data:`normadvisor.types.LAYER_SERIES`."""
    runs = [run for run in runs if run.size]
    if not runs:
        return {}
    total = sum(run.size for run in runs)
    mean = sum(run.size * run.mean for run in runs) / total
    variance = sum(run.size * (run.variance + (run.mean - mean) ** 2) for run in runs) / total
    found = {
        "act_mean": mean,
        "act_std": math.sqrt(variance) if variance >= 0 else math.nan,
        "zero_share": sum(run.size * run.zero for run in runs) / total,
    }
    saturated = [(run.size, run.saturated) for run in runs if run.saturated is not None]
    if saturated:
        found["saturated_share"] = sum(size * share for size, share in saturated) / sum(size for size, _ in saturated)
    between = [(run.size, run.between) for run in runs if run.between is not None]
    if between:
        found["sample_std"] = math.sqrt(sum(size * each for size, each in between) / sum(size for size, _ in between))
    bounds = [(run.low, run.high) for run in runs if run.low is not None and run.high is not None]
    if bounds:
        found["act_abs_max"] = max(_magnitude(low, high) for low, high in bounds)
        found["nonfinite"] = float(sum(_nonfinite(run) for run in runs))
    return found


_RUNS = 6
"""Runs in a pass from which on they are a recurrence that has a middle."""


def call_growth(runs: Sequence[Run]) -> dict[str, float]:
    """``call_growth`` of a layer's runs in one pass, where there are enough of one size.

    From the middle on: the first runs start from an empty state, and what they grow by is no growth of the recurrence.
    """
    if len(runs) < _RUNS or len({run.size for run in runs}) > 1:
        return {}
    middle, last = runs[len(runs) // 2].variance, runs[-1].variance
    return {"call_growth": math.sqrt(last / middle)} if middle > 0 and last >= 0 else {}


def _magnitude(low: float, high: float) -> float:
    return math.nan if math.isnan(low) or math.isnan(high) else max(abs(low), abs(high))


def _nonfinite(run: Run) -> int:
    """Values that are not finite; at least one where they were not counted but the extremes tell of one."""
    if run.nonfinite is not None:
        return run.nonfinite
    return int(run.low is not None and run.high is not None and not (math.isfinite(run.low) and math.isfinite(run.high)))
