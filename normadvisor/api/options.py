"""How to run a check, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.config import Settings
from normadvisor.types import Report, RunContext

if TYPE_CHECKING:
    from normadvisor.api.job import Optimizing
    from normadvisor.rulebook.model import Rule

__all__ = ["CheckOptions", "Checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How to run a check, beside what the settings say."""

    inputs: tuple[str, ...] = ()
    context: RunContext = field(default_factory=RunContext)
    show_graph: bool = False
    jobs: int | None = None
    """Models to check, and files to read, side by side; as many as there are CPUs, at most four, when ``None``."""
    fork: bool | None = None
    """Whether to fork workers; as the platform allows when ``None``."""
    debug: bool = False
    """Whether to tell what targets printed."""
    use_baseline: bool = True
    static: bool = False
    """Whether nothing may be imported or run: files are read, and no model is traced."""
    use_cache: bool = False
    """Whether what reading files gave is kept for the next run."""
    cache_dir: Path | None = None
    """Where; takes precedence over the environment and the settings."""
    probing: Mapping[str, Any] | None = None
    """How to measure the models: fields of :class:`normadvisor.types.ProbeOptions`, which take precedence over the settings. Nothing is
    measured when ``None``."""
    optimizing: Optimizing | None = None
    """How to optimize the models; they are not when ``None``."""
    static_rules: bool = True
    """Whether findings that rest on the structure of models, and on scripts, are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A report, and what rendering it needs."""

    report: Report
    settings: Settings
    rules: Mapping[str, Rule]
    """The rules that ran, by id."""
