"""What is known about a checked model beside its findings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["ModelSummary", "TraceKind"]


class TraceKind(StrEnum):
    """Which tracer produced a graph; ``none`` when neither could."""

    SYMBOLIC = "symbolic"
    EXECUTION = "execution"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """One entry of the report's ``models`` list; the field names are the JSON contract."""

    target: str
    trace: TraceKind
    inputs: str | None = None
    """The inputs as ``--input`` would say them, e.g. ``2x3x224x224``; several are joined by a space."""
    modules: int = 0
    nodes: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry as the JSON contract prints it."""
        return asdict(self)
