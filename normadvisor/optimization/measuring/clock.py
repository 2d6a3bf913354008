"""Seconds of a call on the device it runs on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["Clock", "clock_for"]

Run = Callable[[], object]

_LEAST_FLUSH = 64 * 2**20
"""Bytes written to empty the cache where its size is not known: more than the L2 of any GPU up to the H100 (50 MB)."""
_LAUNCHING = 2e-3
"""Seconds within which forward and backward of one place are launched: some ten launches through autograd take 0.3 ms."""
_MOST_FLUSHES = 64
_WARM_FLUSHES = 5


class Clock(Protocol):
    """Takes the time of calls."""

    def seconds(self, run: Run, repeats: int) -> float:
        """Seconds of one of ``repeats`` calls, the mean."""


class _Wall:
    """The clock on the wall, for devices that compute before a call returns, or that can be waited for."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self._wait = wait

    def seconds(self, run: Run, repeats: int) -> float:
        """See :class:`Clock`."""
        self._wait()
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        self._wait()
        return (time.perf_counter() - begin) / repeats


class _Events:
    """Events in the stream of a GPU: what it works, and what it waits for the next launch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def seconds(self, run: Run, repeats: int) -> float:
        """See :class:`Clock`."""
        with torch.cuda.device(self._device):
            begin, end = _event(), _event()
            begin.record()
            for _ in range(repeats):
                run()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1000 / repeats


class _ColdEvents:
    """The same for single kernels: before each call something else is written, so that no tensor is in the cache from the call before.

    It is written so often that the launches of the call are queued behind it, and only the GPU's own time is taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        size = 4 * int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
        self._other = torch.empty(max(size, _LEAST_FLUSH), dtype=torch.int8, device=device)
        self._times = min(_MOST_FLUSHES, math.ceil(_LAUNCHING / max(self._flush_seconds(), 1e-6)))
        """How often it is written."""

    def _flush_seconds(self) -> float:
        """Of writing it once."""
        return _Events(self._device).seconds(self._other.zero_, _WARM_FLUSHES)

    def seconds(self, run: Run, repeats: int) -> float:
        """See :class:`Clock`."""
        with torch.cuda.device(self._device):
            pairs = [(_event(), _event()) for _ in range(repeats)]
            for begin, end in pairs:
                for _ in range(self._times):
                    self._other.zero_()
                begin.record()
                run()
                end.record()
            pairs[-1][1].synchronize()
            return sum(float(begin.elapsed_time(end)) for begin, end in pairs) / 1000 / repeats


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def clock_for(device: torch.device, *, alone: bool = False) -> Clock:
    """The clock of a device.

    Args:
        device: where what is timed runs.
        alone: whether it is the operations of one place alone, which find none of their tensors in the cache of a GPU.

    """
    if device.type == "cuda":
        return _ColdEvents(device) if alone else _Events(device)
    if device.type == "mps":
        return _Wall(torch.mps.synchronize)
    return _Wall(lambda: None)
