"""``json``: the contract for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from normadvisor import __version__
from normadvisor.report.clean import finite
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import shown
from normadvisor.report.tally import by_place, rule_counts, severity_counts, suppressed
from normadvisor.types import Finding, Location, Measurements, ModelSummary, Problem, Report, TraceKind

__all__ = ["SCHEMA", "render"]

SCHEMA = 1
"""Version of the object; it grows when a key changes its meaning or goes."""


def render(report: Report, options: RenderOptions) -> str:
    """One JSON object in ASCII, findings by place and models by target, so that equal runs give equal text."""
    data = {
        "schema": SCHEMA,
        "tool": {"name": "normadvisor", "version": __version__},
        "models": [model.to_dict() for model in _models(report)],
        "findings": [_finding(finding, options) for finding in by_place(report.findings)],
        **({"probe": _probe(report, options)} if report.probed else {}),
        **(_optimized(report, options) if report.optimized else {}),
        "summary": _summary(report, options),
    }
    return json.dumps(finite(data), indent=2, allow_nan=False) + "\n"


def _models(report: Report) -> list[ModelSummary]:
    """The models, and an entry with an error for every target that did not come to be one."""
    known = {model.target for model in report.models}
    missing = {
        problem.target: ModelSummary(target=problem.target, trace=TraceKind.NONE, error=problem.message)
        for problem in reversed(report.problems)  # the first problem of a target wins
        if problem.target not in known and not report.static
    }
    return sorted([*report.models, *missing.values()], key=lambda model: (model.target, model.inputs or ""))


def _finding(finding: Finding, options: RenderOptions) -> dict[str, Any]:
    data = finding.to_dict()
    data["path"] = None if finding.path is None else shown(finding.path, options.root)
    for place in data["related"]:
        place["path"] = shown(place["path"], options.root)
    for fix in (data["fix"], *data["alternatives"]):
        for edit in fix["edits"] if fix else ():
            edit["path"] = shown(edit["path"], options.root)
    return data


def _probe(report: Report, options: RenderOptions) -> dict[str, Any]:
    """What was measured; numbers that are not finite are the words ``nan``, ``inf`` and ``-inf``, as everywhere."""
    return {
        "measurements": [_measurements(item, options) for item in report.measurements],
        "withdrawn": [{"finding": _finding(item.finding, options), "reason": item.reason} for item in report.withdrawn],
    }


def _optimized(report: Report, options: RenderOptions) -> dict[str, Any]:
    """What was tried on models, each row with its numbers, and the findings that measurement spoke against."""
    return {
        "optimizations": [item.to_dict() for item in report.optimizations],
        "withdrawn": [{"finding": _finding(item.finding, options), "reason": item.reason} for item in report.withdrawn],
    }


def _measurements(item: Measurements, options: RenderOptions) -> dict[str, Any]:
    data = item.to_dict()
    for layer in data["layers"]:
        if layer["location"] is not None:
            layer["location"]["path"] = shown(layer["location"]["path"], options.root)
    return data


def _summary(report: Report, options: RenderOptions) -> dict[str, Any]:
    return {
        "findings": len(report.active),
        "severities": severity_counts(report.active),
        "rules": {count.rule: count.times for count in sorted(rule_counts(report.active))},
        "suppressed": {"noqa": 0, "baseline": 0, "config": 0} | suppressed(report),
        "models": len(report.models),
        "files": report.files,
        "problems": [_problem(problem, options) for problem in report.problems],
        "unused_noqa": [_location(location, options) for location in report.unused_noqa],
        "seconds": None if options.elapsed is None else round(options.elapsed, 3),
    }


def _problem(problem: Problem, options: RenderOptions) -> dict[str, Any]:
    return {
        "target": problem.target,
        "message": problem.message,
        "location": problem.location and _location(problem.location, options),
        "hint": problem.hint,
        "details": problem.details if options.debug else None,
    }


def _location(location: Location, options: RenderOptions) -> dict[str, Any]:
    return asdict(location) | {"path": shown(location.path, options.root)}
