"""Time that a GPU computes, with nothing in its cache from before and no launch to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch

__all__ = ["Clock", "copy_bandwidth"]

_FLUSH = 256 * 2**20
"""Bytes that are written before each call: several times the L2 cache of any GPU."""
_SLEEP = 3_000_000
"""Cycles that the GPU sleeps before each call, 1.5 to 2 ms: until then the processor has queued everything the call launches."""
_COPIED = 2**30
"""Bytes of the tensor whose copying shows the bandwidth."""


@dataclass(slots=True)
class Clock:
    """Takes times on one device."""

    device: torch.device
    _other: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._other = torch.empty(_FLUSH if self.device.type == "cuda" else 1, dtype=torch.int8, device=self.device)

    def seconds(self, run: Callable[[], object], number: int) -> list[float]:
        """Of each of some calls; the processor's time is not among it on a GPU."""
        if self.device.type != "cuda":
            return [_wall(run) for _ in range(number)]
        pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(number)]
        for begin, end in pairs:
            self._other.zero_()
            torch.cuda._sleep(_SLEEP)  # noqa: SLF001 - torch's own benchmarks do the same, there is no public one
            begin.record()
            run()
            end.record()
        torch.cuda.synchronize(self.device)
        return [begin.elapsed_time(end) / 1000 for begin, end in pairs]

    def rounds(self, runs: Sequence[Callable[[], object]], number: int, each: int = 3) -> list[list[float]]:
        """Seconds of several ways to do the same, which take turns; of each the median of ``each`` calls, once a round."""
        found: list[list[float]] = [[] for _ in runs]
        for index in range(number):
            order = range(len(runs)) if index % 2 == 0 else reversed(range(len(runs)))
            for position in order:
                found[position].append(median(self.seconds(runs[position], each)))
        return found


def _wall(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def copy_bandwidth(clock: Clock, size: int = _COPIED) -> float:
    """Bytes a second that copying one tensor into another reads and writes together: what a kernel that computes nothing reaches."""
    source = torch.zeros(size, dtype=torch.int8, device=clock.device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)

    copy()
    return 2 * size / median(clock.seconds(copy, 10))
