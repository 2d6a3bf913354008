"""What a probe measured, and the verdict of an audit, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from normadvisor.report.clean import encodable
from normadvisor.report.options import RenderOptions
from normadvisor.types import Measurements, Report

if TYPE_CHECKING:
    from rich.text import Text

    from normadvisor.report.probe.paper import Paper

__all__ = ["render_audit", "render_probe"]


def render_probe(report: Report, options: RenderOptions, *, compare: Measurements | Sequence[Measurements] | None = None) -> str:
    """Measurements of every probed model, then findings and the summary, as text that ends with a line feed.

    Args:
        report: with ``measurements``, one entry per model.
        options: width, colours and encoding as for the other formats.
        compare: an earlier run, or several: each model is compared with the one of its target, a single one with any.

    """
    from normadvisor.report.printer import columns, printed  # noqa: PLC0415 - rich is loaded when there is something to print
    from normadvisor.report.probe.paper import Paper  # noqa: PLC0415 - as above
    from normadvisor.report.textual import blocks  # noqa: PLC0415 - as above

    width = columns(options)
    paper = Paper(options, width)
    found = [*_models(report, paper, compare), *blocks(report, options, width)]
    return encodable(printed(found, options), options.encoding)


def render_audit(
    report: Report, options: RenderOptions, *, go: bool | None, reasons: Sequence[str], remarks: Sequence[str] = (), seconds: float | None
) -> str:
    """The verdict, why, and what it rests on, as text that ends with a line feed; the verdict stands in the last line once more.

    Args:
        report: findings, measurements, and what could not be checked.
        options: width, colours and encoding as for the other formats.
        go: whether training may start; ``None`` where that could not be judged.
        reasons: why, or why not; one sentence each.
        remarks: what was found and says nothing against it; one sentence each.
        seconds: duration of the audit.

    """
    from normadvisor.report.printer import columns, printed  # noqa: PLC0415 - rich is loaded when there is something to print
    from normadvisor.report.probe.paper import Paper  # noqa: PLC0415 - as above
    from normadvisor.report.probe.verdict import verdict  # noqa: PLC0415 - as above
    from normadvisor.report.textual import blocks  # noqa: PLC0415 - as above

    width = columns(options)
    paper = Paper(options, width)
    said = list(verdict(report, paper, go=go, reasons=reasons, remarks=remarks, seconds=seconds))
    found = [*said, *_models(report, paper, None, brief=True), *blocks(report, options, width), said[0]]
    return encodable(printed(found, options), options.encoding)


def _models(
    report: Report, paper: Paper, compare: Measurements | Sequence[Measurements] | None, *, brief: bool = False
) -> Iterator[list[Text]]:
    from normadvisor.report.measured.compare import compare_runs, other_run  # noqa: PLC0415 - as above
    from normadvisor.report.probe.differences import comparison_section  # noqa: PLC0415 - as above
    from normadvisor.report.probe.section import model_section  # noqa: PLC0415 - as above

    for measured in report.measurements:
        yield from model_section(report, measured, paper, brief=brief)
        if (other := other_run(measured, compare)) is not None:
            yield from comparison_section(compare_runs(measured, other), paper)
