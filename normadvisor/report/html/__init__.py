"""What a probe measured, and the verdict of an audit, as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from normadvisor.types import Measurements, Report

__all__ = ["html_audit", "html_probe"]


def html_probe(report: Report, *, compare: Measurements | Sequence[Measurements] | None = None, root: Path) -> str:
    """Findings and measurements of every probed model.

    Args:
        report: with ``measurements``, one entry per model.
        compare: an earlier run, or several: each model is compared with the one of its target, a single one with any.
        root: paths below this folder are shown relative to it.

    """
    del report, compare, root
    return "<!doctype html>\n"


def html_audit(report: Report, *, go: bool, reasons: Sequence[str], root: Path) -> str:
    """The verdict, why, and what it rests on.

    Args:
        report: findings, measurements, and what could not be checked.
        go: whether training may start.
        reasons: why, or why not; one sentence each.
        root: paths below this folder are shown relative to it.

    """
    del report, go, reasons, root
    return "<!doctype html>\n"
