"""What is sent to a worker: the models of one file (or one target), and how to look at them. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from normadvisor.targets.parse import Target
from normadvisor.types import RunContext

__all__ = ["CLOCK_STARTS", "Job", "Limits", "ModelJob"]

CLOCK_STARTS = frozenset({"importing", "building"})
"""Phases that have the whole time limit to themselves and what follows them; a model is imported, built, traced and matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model may use up in a worker."""

    timeout: float = 60.0
    """Seconds for importing its file, and again for building, tracing and matching it."""
    memory: int = 8192
    """MiB beyond what torch itself takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelJob:
    """One model to check."""

    target: Target
    context: RunContext = field(default_factory=RunContext)
    inputs: tuple[str, ...] = ()
    """As ``--input`` takes them; inferred when empty."""
    root: Path = field(default_factory=Path.cwd)
    """Findings point into files below it when they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Models that share one worker process because they come from one file."""

    label: str
    """What the user named, for messages about all models together."""
    models: tuple[ModelJob, ...]
    rules: tuple[int, ...] | None = None
    """Positions in the pool's list of rules; ``None`` for all of them."""
    show_graph: bool = False
    cwd: Path | None = None
    """Working directory for the target's code; the parent's when ``None``."""
