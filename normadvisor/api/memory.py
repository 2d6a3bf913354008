"""Watches the memory of children, all their processes together, where the system's own limit does not reach."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from normadvisor.api.attempt import Attempt

__all__ = ["MemoryWatch"]

_EVERY = 0.25
"""Seconds between two looks: listing processes takes milliseconds."""

_TOLERANCE = 1.25
"""Where the system limits single processes it should speak first: it makes the very line that asked for too much fail."""

_OWN = 512
"""MiB that torch and what it imports take privately in every child; measured at 250."""


class MemoryWatch:
    """Looks from time to time at what children use."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _EVERY

    def over(self, attempts: Collection[Attempt]) -> Iterator[tuple[Attempt, int]]:
        """Children that use more than they may, and how many MiB that is."""
        now = time.monotonic()
        if now < self._next or not any(attempt.pid and attempt.status is None for attempt in attempts):
            return
        self._next = now + _EVERY
        for attempt in list(attempts):
            if attempt.pid is None or attempt.status is not None or attempt.over_memory is not None:
                continue
            used = _private_mib(attempt.pid)
            if used > attempt.limits.memory * _TOLERANCE + _OWN:
                yield attempt, used


def _private_mib(pid: int) -> int:
    """MiB of a process and its descendants that are theirs alone: without the libraries they share."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            info = member.memory_info()
        except psutil.Error:
            continue  # it has ended meanwhile
        total += info.rss - getattr(info, "shared", 0)
    return total // 2**20
