"""What a configuration says, as plain dataclasses that can be sent to a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from normadvisor.types import Location, RunContext, Severity

__all__ = ["FORMATS", "Format", "ModelConfig", "Settings"]

Format: TypeAlias = Literal["text", "concise", "json", "sarif", "github", "junit", "markdown"]
FORMATS: tuple[str, ...] = get_args(Format)
"""The report formats a configuration may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One ``[[tool.normadvisor.models]]`` table: a model to check, its inputs and how it is trained."""

    target: str
    """As on the command line, e.g. ``src/net.py:Net`` or ``package.module:build(depth=18)``."""
    inputs: tuple[str, ...] = ()
    """As ``--input`` takes them; inferred when empty."""
    context: RunContext = field(default_factory=RunContext)
    """What this table says; :attr:`Settings.context` holds what is common to all models."""
    location: Location | None = None
    """Where ``target`` stands."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """How it is measured: some fields of :class:`normadvisor.types.ProbeOptions`, as its table says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one run. Relative paths in the file are relative to the file and absolute here.

    Rule selectors are ids or the beginnings of ids: ``NA102``, ``NA1``.
    """

    select: tuple[str, ...] = ()
    """Rules to run instead of the default selection; empty for the default."""
    ignore: tuple[str, ...] = ()
    """Rules not to run."""
    extend_select: tuple[str, ...] = ()
    """Rules to run besides the selection."""
    severity: Mapping[str, Severity | Literal["off"]] = field(default_factory=dict)
    """Severity per rule instead of the rule's own."""
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Glob, relative to :attr:`root`, and the rules not to report in files it matches."""
    rules: tuple[Path, ...] = ()
    """Folders with rules of the user's own."""
    exclude: tuple[str, ...] = ()
    """Globs, relative to :attr:`root`, of files not to look into when a folder is checked."""
    baseline: Path | None = None
    """File of known findings."""
    fail_on: Severity = Severity.WARNING
    """Least severity that makes the exit code 1."""
    format: str = "text"
    """One of :data:`FORMATS`."""
    cache_dir: Path | None = None
    """Folder that keeps what reading files gave; ``.normadvisor_cache`` in :attr:`root` when ``None``."""
    timeout: float = 60.0
    """Seconds one target may take in the worker."""
    memory: int = 8192
    """MiB one target may take in the worker."""
    context: RunContext = field(default_factory=RunContext)
    """How models are trained unless something more specific says otherwise."""
    models: tuple[ModelConfig, ...] = ()
    """Models to check beside those that are discovered."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """How models are measured unless something more specific says otherwise: some fields of :class:`normadvisor.types.ProbeOptions`."""
    root: Path = field(default_factory=Path.cwd)
    """Folder of the configuration file, or where the search for one began."""
    source: Path | None = None
    """The configuration file, if there is one."""
    locations: Mapping[str, Location] = field(default_factory=dict)
    """Where settings stand, by key: ``select``, ``severity.NA102``, ``per_file_ignores.tests/*`` ... For errors found later."""
