"""Findings of one script that stand in other files."""

from __future__ import annotations

from dataclasses import dataclass

from normadvisor.types import Finding

__all__ = ["Elsewhere"]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a script does wrong in another file."""

    there: tuple[Finding, ...]
    """Findings in that file."""
    here: tuple[Finding, ...]
    """The same at the calls in the script that lead there; what happens when the file is imported has none."""
