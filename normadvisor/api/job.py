"""What is sent to a worker: the models of one file (or one target), and how to look at them. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from normadvisor.config.ranks import RankEnvironment
from normadvisor.targets.parse import Target
from normadvisor.types import Operation, RunContext
from normadvisor.types.optimization import OptimizeOptions
from normadvisor.types.probing import ProbeOptions

__all__ = [
    "CONVERT",
    "LOADING_DATA",
    "MEETING",
    "OPTIMIZING",
    "PROBING",
    "Announcement",
    "Contents",
    "Conversion",
    "Job",
    "Limits",
    "Meeting",
    "ModelJob",
    "Optimizing",
    "Probing",
    "ProofRequest",
]

LOADING_DATA = "loading the data for"
"""Phase in which a function of the user's makes batches."""
MEETING = "gathering the ranks for"
"""Phase in which processes that measure a model together wait for each other."""
PROBING = "probing"
"""Phase in which a model is trained for a few steps."""
OPTIMIZING = "optimizing"
"""Phase in which replacements are tried on a model."""
_CLOCK_STARTS: Mapping[str, float] = {"importing": 1.0, "building": 1.0, "proving": 3.0, LOADING_DATA: 1.0, MEETING: 3.0}
"""Phases that have a time limit to themselves and what follows them, in times :attr:`Limits.timeout`; a model is imported, built, traced
and matched. Comparing runs it forward and backward several times in double precision."""

CONVERT = "convert"
"""What stands in the place of a rule's id where a conversion was asked for."""

Contents: TypeAlias = tuple[tuple[str, bytes], ...]
"""Resolved paths of files, and what they hold in place of what is on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model may use up in a worker."""

    timeout: float = 60.0
    """Seconds for importing its file, and again for building, tracing and matching it."""
    memory: int = 8192
    """MiB beyond what torch itself takes."""
    probing: float = 180.0
    """Seconds for measuring or optimizing it."""
    threads: int | None = None
    """Threads that torch computes with where a model is measured; torch decides when ``None``. All else runs on one thread."""
    side_by_side: bool = False
    """Whether a model may be measured while others are: what is measured stays the same, the time it takes does not."""

    def seconds(self, phase: str) -> float | None:
        """Seconds for a phase and those that follow it; ``None`` where the clock of the phase before goes on."""
        if phase in {PROBING, OPTIMIZING}:
            return self.probing
        factor = _CLOCK_STARTS.get(phase)
        return None if factor is None else self.timeout * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How a model is measured, and the user's own functions for it."""

    options: ProbeOptions = field(default_factory=ProbeOptions)
    data: Target | None = None
    """Returns batches; random ones are drawn when ``None``."""
    loss: Target | None = None
    """Is the loss; chosen by name or by the output when ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizing:
    """How a model is optimized, and where the result goes."""

    options: OptimizeOptions = field(default_factory=OptimizeOptions)
    save: Path | None = None
    """File for the optimized model, absolute; it is not written when ``None``."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Processes that measure one model together."""

    environment: RankEnvironment
    """Which of them this is."""
    run: str
    """What they meet for: the same on all of them, and different each time."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What other ranks are told by one whose worker is gone."""

    environment: RankEnvironment
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelJob:
    """One model to check."""

    target: Target
    context: RunContext = field(default_factory=RunContext)
    inputs: tuple[str, ...] = ()
    """As ``--input`` takes them; inferred when empty."""
    root: Path = field(default_factory=Path.cwd)
    """Findings point into files below it when they can."""
    probing: Probing | None = None
    """How it is measured; it is not when ``None``."""
    meeting: Meeting | None = None
    """With which other processes; alone when ``None``."""
    optimizing: Optimizing | None = None
    """How it is optimized; it is not when ``None``."""

    @property
    def runs(self) -> bool:
        """Whether it is run with real weights, on its device."""
        return self.probing is not None or self.optimizing is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """BatchNorm layers that are to be another norm: reported as if a rule said so, each with its fix."""

    to: str
    """What to convert to: ``group_norm`` ..."""
    layers: tuple[str, ...] = ("*",)
    """Globs over qualified names; one that begins with ``!`` leaves layers out."""
    groups: int = 32
    """Groups of a GroupNorm at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """How the edited model is compared with the one before."""

    base: Contents = ()
    """The files before; :attr:`Job.overlay` has them after."""
    changes: tuple[tuple[Operation, ...], ...] = ()
    """What the edits do to the layers of this model, fix by fix."""
    equal: bool = True
    """Whether it has to be the same function; else only the keys of its state are compared."""
    draws: int = 3
    """Random inputs and weights in each mode."""
    seed: int = 0


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
    overlay: Contents = ()
    """Files that are not as on the disk."""
    proof: ProofRequest | None = None
    """How the only model of the job is compared with what it was before; it is not when ``None``."""
    conversion: Conversion | None = None
    """What to report beside the findings of the rules."""
    announcement: Announcement | None = None
    """What to tell other ranks, in place of checking models."""
    list_files: bool = False
    """Whether to tell which files below the root were imported."""
