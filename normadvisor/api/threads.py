"""How many threads a measurement computes with."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["threads_to_use"]

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch itself reads, in this order."""


def threads_to_use() -> int:
    """As many as the user's environment allows, else one per physical core that this process may use, which is what torch does.

    Worker processes are started with one thread each, so torch cannot tell by itself.
    """
    for name in _VARIABLES:
        said = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP takes a list, one number per level
        if said.isascii() and said.isdigit() and int(said) > 0:
            return min(int(said), 1024)
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable, _quota() or usable))


def _quota(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """CPUs that the control group of a container allows, rounded up; ``None`` where there is no limit, or none can be read."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        if quota == "max":
            return None
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    try:
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
