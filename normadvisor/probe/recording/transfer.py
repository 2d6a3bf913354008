"""Bring numbers from accelerators, all at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TypeAlias

import torch

__all__ = ["Transfer"]

_Entry: TypeAlias = "tuple[torch.Tensor, Callable[[list[float]], None]]"


class Transfer:
    """Numbers on their way: each :meth:`add` says who waits for them, :meth:`run` delivers.

    One transfer per device, however many numbers there are: only there does the process wait for the device.
    """

    def __init__(self) -> None:
        self._waiting: list[_Entry] = []

    def add(self, numbers: torch.Tensor, receive: Callable[[list[float]], None]) -> None:
        """Ask for the values of a tensor of any shape; ``receive`` gets them in order."""
        self._waiting.append((numbers.detach().reshape(-1), receive))

    def run(self) -> None:
        """Deliver everything, and be empty again."""
        waiting, self._waiting = self._waiting, []
        waiting.sort(key=_home)
        for _, entries in groupby(waiting, key=lambda entry: str(entry[0].device)):
            _deliver(list(entries))


def _home(entry: _Entry) -> tuple[str, str]:
    return str(entry[0].device), str(entry[0].dtype)


def _deliver(entries: list[_Entry]) -> None:
    """Bring the numbers of one device, those of one dtype beside one another so that few kernels run."""
    wide = torch.float32 if entries[0][0].device.type == "mps" else torch.float64
    alike = [torch.cat([numbers for numbers, _ in group]).to(wide) for _, group in groupby(entries, key=lambda entry: entry[0].dtype)]
    values: list[float] = torch.cat(alike).tolist()
    start = 0
    for numbers, receive in entries:
        receive(values[start : start + numbers.numel()])
        start += numbers.numel()
