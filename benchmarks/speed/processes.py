"""Whole processes, timed from outside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Run", "Spread", "interleaved", "run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: wall seconds, processor seconds and peak resident memory (MiB) of its largest process, exit code."""

    wall: float
    cpu: float
    memory: float
    code: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Median with the smallest and the largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """``median (low-high)``."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def run(command: Sequence[str], *, cwd: str | None = None) -> Run:
    """Run a command to its end, its output thrown away."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_mib, process.returncode)


def interleaved(first: Sequence[str], second: Sequence[str], *, pairs: int, cwd: str | None = None) -> list[tuple[Run, Run]]:
    """Run two commands in turn, after one uncounted run of each, so that a drifting machine touches both alike."""
    run(first, cwd=cwd)
    run(second, cwd=cwd)
    return [(run(first, cwd=cwd), run(second, cwd=cwd)) for _ in range(pairs)]
