"""Seconds that a probe may take, and how they are divided."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["DEFAULT_SECONDS", "Budget"]

DEFAULT_SECONDS = 60.0
"""For everything, where nobody said."""


@dataclass(slots=True)
class Budget:
    """A clock that is asked before something is begun; nothing that runs is interrupted."""

    seconds: float = DEFAULT_SECONDS
    clock: Callable[[], float] = time.perf_counter
    step: float = 0.0
    """Seconds of one step (forward, backward, update), as measured in the warm-up."""
    forward: float = 0.0
    """Seconds of one forward pass."""
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self._start

    @property
    def left(self) -> float:
        """Seconds that remain, negative when overdrawn."""
        return self.seconds - self.used

    def allows(self, seconds: float, share: float = 1.0) -> bool:
        """Whether something of that length still fits into a share of the whole."""
        return self.used + seconds <= self.seconds * share

    def passes(self, wanted: int, least: int, each: float, share: float) -> int:
        """As many of ``wanted`` repetitions as fit into a share of the whole; 0 where fewer than ``least`` do."""
        if each <= 0:
            return wanted
        fitting = int((self.seconds * share - self.used) / each)
        return 0 if fitting < least else min(wanted, fitting)
