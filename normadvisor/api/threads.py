"""How many threads a measurement computes with."""

from __future__ import annotations

import os

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
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable))
