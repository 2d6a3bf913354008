"""A model found by reading a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from normadvisor.types import Location

__all__ = ["Candidate", "CandidateKind"]


class CandidateKind(StrEnum):
    """What a discovered model is."""

    CLASS = "class"
    FACTORY = "factory"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model found in a file: ``file.py:{name}`` is its target."""

    name: str
    kind: CandidateKind
    location: Location
