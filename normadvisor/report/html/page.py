"""The page around the views: templates, styles and script in one file, with a policy that admits nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from normadvisor import __version__
from normadvisor.report.clean import printable
from normadvisor.report.html.findings import finding_views, withdrawn_views
from normadvisor.report.html.view import model_view
from normadvisor.report.paths import place_of
from normadvisor.report.tally import by_importance, counted, severity_counts
from normadvisor.types import Finding, Measurements, Report

__all__ = ["rendered"]

HERE = Path(__file__).parent


def rendered(
    template: str, report: Report, *, root: Path, compare: Measurements | Sequence[Measurements] | None = None, **more: Any
) -> str:
    """The page of a report.

    Args:
        template: its file name.
        report: what is shown.
        root: paths below this folder are shown relative to it.
        compare: other runs.
        more: what else the template asks for.

    """
    findings = by_severity(report)
    anchors = {id(finding): f"finding-{index}" for index, finding in enumerate(findings, 1)}
    models = [
        model_view(report, measured, f"model-{index}", anchors, compare) for index, measured in enumerate(report.measurements, 1)
    ]
    page = _environment().get_template(template).render(
        version=__version__, models=models, findings=finding_views(findings, root), withdrawn=withdrawn_views(report.withdrawn, root),
        counts=[(name, _count(name, number)) for name, number in severity_counts(findings).items() if number],
        problems=[(problem, place_of(problem.location, root) if problem.location else "") for problem in report.problems],
        policy=_policy(_static("report.css"), _static("report.js")), several=len(report.measurements) > 1, extent=_extent(report), **more,
    )  # fmt: skip
    return page + "\n"


def by_severity(report: Report) -> list[Finding]:
    """All findings, the worst first whatever file they are in."""
    return sorted(by_importance(report.active), key=lambda finding: -finding.severity.rank)


def _extent(report: Report) -> str:
    """How much was measured."""
    layers = sum(len(measured.layers) for measured in report.measurements)
    steps = max((measured.steps for measured in report.measurements), default=0)
    return f"{counted(layers, 'layer')} measured in {counted(steps, 'step')}"


def _count(name: str, number: int) -> str:
    return f"{number} info" if name == "info" else counted(number, name)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "static"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )


def _printable(value: Any) -> Any:
    """No control character, bidirectional override or lone surrogate reaches the page, whatever a template shows."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _static(name: str) -> str:
    """A file of ours as the template includes it: without the line feed at its end."""
    return (HERE / "static" / name).read_text(encoding="utf-8").removesuffix("\n")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere; only our own style and script run, told by their hashes."""
    return f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


