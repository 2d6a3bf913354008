"""What else the machine computes while something is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Mark", "Watch", "busy_gpu"]

_SHARE = 0.15
"""Of the threads that measure: what others may compute beside them. An idle desktop takes a few percent of one core."""
_IDLE = 1.0
"""Seconds without work of ours before a GPU is asked how busy it is: what it answers is the mean over up to one second."""
_GPU_BUSY = 10
"""Percent of the time in which an otherwise idle GPU computes for others."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, and how much had been computed until then."""

    at: float
    all: float
    """CPU seconds of the machine."""
    own: float
    """CPU seconds of this process and of the ended ones it started."""


class Watch:
    """Tells how many cores others use, and whether that is too many for measuring.

    Args:
        threads: that the measurement computes with.
        cores: of the machine; asked for when ``None``.
        mark: takes a :class:`Mark`; for tests.

    """

    def __init__(self, threads: int, *, cores: int | None = None, mark: Callable[[], Mark] | None = None) -> None:
        self.cores = cores or psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
        self.allowed = max(0, self.cores - threads) + _SHARE * min(threads, self.cores)
        """Cores that others may use: those that the measurement leaves idle, and a little."""
        self.mark = mark or _mark

    def foreign(self, since: Mark) -> float:
        """Cores that others used since then, on average."""
        now = self.mark()
        passed = now.at - since.at
        return max(0.0, (now.all - since.all) - (now.own - since.own)) / passed if passed > 0 else 0.0

    def words(self, foreign: float) -> str:
        """Why a measurement is not taken."""
        return f"the machine is busy: other processes use {foreign:.1f} of its {self.cores} cores"


def _mark() -> Mark:
    every = psutil.cpu_times()
    # Guests are counted under user already, and waiting for a disk is no work.
    idle = every.idle + getattr(every, "iowait", 0.0) + getattr(every, "guest", 0.0) + getattr(every, "guest_nice", 0.0)
    own = psutil.Process().cpu_times()
    mine = own.user + own.system + getattr(own, "children_user", 0.0) + getattr(own, "children_system", 0.0)
    return Mark(time.monotonic(), sum(every) - idle, mine)


def busy_gpu(device: torch.device) -> str:
    """Why a GPU that does nothing for us is busy; empty where it is not, or where that cannot be asked (without ``pynvml``)."""
    if device.type != "cuda":
        return ""
    torch.cuda.synchronize(device)
    time.sleep(_IDLE)
    try:
        percent = int(torch.cuda.utilization(device))
    except Exception:  # noqa: BLE001 -- no library, no driver that answers, a partition that does not tell
        return ""
    return f"the GPU is busy: other processes use it {percent}% of the time" if percent > _GPU_BUSY else ""
