"""Silence rules in files that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from normadvisor.files.folders import is_excluded
from normadvisor.types import Finding, Suppression

__all__ = ["apply_per_file_ignores"]


def apply_per_file_ignores(findings: Sequence[Finding], ignores: Mapping[str, Sequence[str]], *, root: Path) -> tuple[Finding, ...]:
    """Mark findings that ``per-file-ignores`` silences as ``suppressed="config"``.

    Args:
        findings: suppressed ones stay as they are.
        ignores: glob (of the path below ``root``, of a folder on the way, or of a file name) and ids of rules or their beginnings.
        root: folder of the configuration file.

    """
    return tuple(_marked(finding, ignores, root) for finding in findings)


def _marked(finding: Finding, ignores: Mapping[str, Sequence[str]], root: Path) -> Finding:
    if finding.suppressed is not None or finding.path is None:
        return finding
    path = root / finding.path
    for glob, rules in ignores.items():
        if any(rule and finding.rule.startswith(rule) for rule in rules) and is_excluded(path, root, [glob, glob.removeprefix("**/")]):
            return replace(finding, suppressed=Suppression.CONFIG)
    return finding
