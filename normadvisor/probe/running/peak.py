"""Memory at its peak: of the device, or of the process where the device is the CPU."""

from __future__ import annotations

import sys

import psutil
import torch

__all__ = ["Peak", "process_peak"]

MIB = 2**20


def process_peak(device: torch.device) -> float:
    """MiB that were in use at most since the process began; where the system does not tell, those in use now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if sys.platform == "win32":
        return psutil.Process().memory_info().rss / MIB
    import resource  # noqa: PLC0415 -- there is none on Windows

    # Linux tells KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform != "darwin" else MIB)


class Peak:
    """The peak since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._start = process_peak(device)
        self._seen = 0.0

    def look(self) -> None:
        """Take note of what is in use now."""
        cuda = self.device.type == "cuda"
        now = torch.cuda.memory_allocated(self.device) if cuda else psutil.Process().memory_info().rss
        self._seen = max(self._seen, now / MIB)

    @property
    def mebibytes(self) -> float:
        """MiB at the peak; where the process had a higher one before, the most that was seen between phases."""
        highest = process_peak(self.device)
        return highest if highest > self._start else self._seen
