"""What a caller may want to know while a check runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Progress", "ProgressCallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of a check."""

    done: int
    """Models, or files that are read, that are finished."""
    total: int
    """Models to check, or files to read."""
    target: str
    """What is being worked on, or was finished by this step."""
    phase: str
    """``importing``, ``building``, ``tracing``, ``matching``, ``writing`` (edits) or ``done``; ``proving`` where a fix is tried;
    ``reading`` for a file, ``starting`` while the worker imports torch; ``loading the data for`` and ``probing`` where it is measured."""
    part: str = ""
    """What is being done within the phase, such as ``step 3 of 10``."""


ProgressCallback: TypeAlias = Callable[[Progress], None]
