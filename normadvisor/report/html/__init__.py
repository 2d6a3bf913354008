"""What a probe measured, and the verdict of an audit, as one HTML file that needs no other.

The pictures are SVG and made here; they are complete without the script, which only shows the numbers below the pointer. The page follows
the reader's light or dark scheme, prints, and loads nothing.
"""

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
    from normadvisor.report.html.page import rendered  # noqa: PLC0415 - jinja2 is loaded when there is a page to make

    return rendered("probe.html.j2", report, root=root, compare=compare)


def html_audit(
    report: Report,
    *,
    go: bool | None,
    reasons: Sequence[str],
    remarks: Sequence[str] = (),
    compare: Measurements | Sequence[Measurements] | None = None,
    root: Path,
) -> str:
    """The verdict, why, and what it rests on.

    Args:
        report: findings, measurements, and what could not be checked.
        go: whether training may start; ``None`` where that could not be judged.
        reasons: why, or why not; one sentence each.
        remarks: what was found and says nothing against it; one sentence each.
        compare: an earlier run, or several, as for :func:`html_probe`.
        root: paths below this folder are shown relative to it.

    """
    from normadvisor.report.html.page import rendered  # noqa: PLC0415 - as above

    checked = [model for model in report.models if model.target not in {measured.target for measured in report.measurements}]
    word, kind = {True: ("Go", "go"), False: ("No go", "stop"), None: ("Not judged", "open")}[go]
    return rendered(
        "audit.html.j2", report, root=root, compare=compare,
        word=word, kind=kind, reasons=list(reasons), remarks=list(remarks), unmeasured=checked,
    )  # fmt: skip
