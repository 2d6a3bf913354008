"""What the command line does where ``torchrun`` starts it several times: rank 0 speaks for all."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from normadvisor.errors import UsageError

__all__ = ["for_rank", "is_silent", "linger", "silenced"]

_MEASURING = ("probe", "audit")
_LINGERING = 20.0
"""Seconds that rank 0 has for its last words: as soon as one process ends with an error, ``torchrun`` ends all others."""
_FILES = ("output", "html", "json", "log")


def is_silent(arguments: Sequence[str]) -> bool:
    """Whether another process reports what this one measures too."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    return (command in _MEASURING or "--probe" in arguments) and _is_other_rank()


def _is_other_rank() -> bool:
    from normadvisor.config.ranks import RankEnvironment

    try:
        environment = RankEnvironment.read(os.environ)
    except UsageError:  # told when the run begins
        return False
    return environment is not None and environment.rank > 0


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing."""
    streams = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - os.devnull is a name, not a place
        sys.stdout = sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams


def linger(code: int) -> int:
    """Wait for rank 0 to have spoken, and return the exit code; at once where nothing is wrong."""
    over: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        over.append(number)

    if code == 0:
        return code
    signal.signal(signal.SIGTERM, end)
    deadline = time.monotonic() + _LINGERING
    while not over and time.monotonic() < deadline:
        time.sleep(0.05)
    return code


def for_rank(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a command that measures: files are written by rank 0 alone."""
    if not _is_other_rank():
        return dict(given)
    return {**given, **{name: None for name in _FILES if name in given}}
