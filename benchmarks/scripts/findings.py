"""Run ``normadvisor check --static`` in a process of its own and read what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COMMAND", "Finding", "Report", "check"]

COMMAND = (sys.executable, "-m", "normadvisor", "check", "--static", "--no-cache", "--exit-zero", "--quiet")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding, its path relative to the folder checked."""

    path: str
    cell: int
    """0 in a file."""
    line: int
    rule: str
    severity: str
    message: str
    confidence: str
    related: tuple[str, ...]

    @property
    def place(self) -> str:
        """``path:line``, in a notebook ``path:cell 3:line``."""
        cell = f"cell {self.cell}:" if self.cell else ""
        return f"{self.path}:{cell}{self.line}"

    @property
    def loud(self) -> bool:
        """A warning or an error."""
        return self.severity != "info"


@dataclass(frozen=True, slots=True)
class Report:
    """Findings, in order, and what could not be checked."""

    findings: tuple[Finding, ...]
    problems: tuple[str, ...]


def _relative(path: str, folder: Path) -> str:
    full = Path(path) if Path(path).is_absolute() else folder / path
    return full.resolve().relative_to(folder).as_posix() if full.resolve().is_relative_to(folder) else path


def _finding(raw: Mapping[str, Any], folder: Path) -> Finding:
    related = tuple(f"{_relative(place['path'], folder)}:{place['line']}: {place['message']}" for place in raw["related"] if place["path"])
    return Finding(
        _relative(raw["path"] or "", folder),
        raw.get("cell") or 0,
        raw["line"] or 0,
        raw["rule"],
        raw["severity"],
        raw["message"],
        raw["confidence"],
        related,
    )


def check(folder: Path, targets: Sequence[str] = (".",), extra: Sequence[str] = ()) -> Report:
    """What the checker says about targets in a folder, started in that folder.

    Raises:
        RuntimeError: it printed no report.

    """
    folder = folder.resolve()
    done = subprocess.run([*COMMAND, "--format", "json", *extra, *targets], capture_output=True, text=True, check=False, cwd=folder)
    try:
        data = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise RuntimeError(f"no report (exit code {done.returncode}): {done.stderr.strip()[-2000:]}") from error
    problems = [str(problem) for problem in data["summary"].get("problems", ())]
    return Report(tuple(sorted(_finding(raw, folder) for raw in data["findings"])), tuple(problems))
