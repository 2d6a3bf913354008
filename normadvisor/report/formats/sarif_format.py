"""``sarif``: SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from normadvisor import __version__
from normadvisor.report.clean import finite
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import is_inside, uri
from normadvisor.report.tally import by_place, rule_counts
from normadvisor.types import Edit, Finding, Fix, Location, Problem, Report, Severity, Suppression

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["render"]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
BASE = "SRCROOT"
"""Name of the folder that relative URIs are relative to."""
REASONS = {
    Suppression.NOQA: ("inSource", "a noqa comment"),
    Suppression.BASELINE: ("external", "the baseline"),
    Suppression.CONFIG: ("external", "per-file-ignores of the configuration"),
}


def render(report: Report, options: RenderOptions) -> str:
    """One run with all findings, suppressed ones marked as such; what could not be checked stands in the invocation."""
    rules = _rules(report, options.rules)
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "normadvisor", "version": __version__, "semanticVersion": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"uri": _base(options)}},
        "invocations": [_invocation(report, options)],
        "results": [_result(finding, index[finding.rule], options) for finding in by_place(report.findings)],
    }
    if options.statistics:
        run["properties"] = {"statistics": {count.rule: count.times for count in sorted(rule_counts(report.active))}}
    return json.dumps(finite({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}), indent=2, allow_nan=False) + "\n"


def _base(options: RenderOptions) -> str:
    return options.root.absolute().as_uri().rstrip("/") + "/"


def _rules(report: Report, known: Mapping[str, Rule]) -> list[dict[str, Any]]:
    """Metadata of every rule that ran or spoke, by id."""
    described = {identifier: _rule(rule) for identifier, rule in known.items()}
    for finding in report.findings:
        described.setdefault(finding.rule, {"id": finding.rule, "name": finding.name})
    return [described[identifier] for identifier in sorted(described)]


def _rule(rule: Rule) -> dict[str, Any]:
    mends = [("Mend", rule.fix), *(("Or", fix) for fix in rule.alternatives)] if rule.fix else []
    mend = "".join(f"\n\n**{word}** ({fix.applicability}): {_general(fix.description)}" for word, fix in mends)
    sources = "\n".join(
        f"- {f'[{source.title}]({source.url})' if source.url else source.title}{f': {source.claim}' if source.claim else ''}"
        for source in rule.references
    )
    entry: dict[str, Any] = {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.why, "markdown": f"**{rule.summary}**\n\n{rule.why}{mend}\n\n**Sources**\n\n{sources}"},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": [rule.scope, "pytorch"]},
    }
    if url := next((source.url for source in rule.references if source.url and source.url.startswith("http")), None):
        entry["helpUri"] = url
    return entry


def _general(template: str) -> str:
    """A template of a rule as a sentence about every finding of it."""
    return re.sub(r"\{\{|\}\}|\{[^{}]*\}", lambda match: match.group()[0] if len(set(match.group())) == 1 else "\u2026", template)


def _result(finding: Finding, index: int, options: RenderOptions) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": _in_cell(finding.cell, finding.line) + finding.message},
        "locations": _locations(finding, options),
        "properties": {
            "confidence": finding.confidence,
            "model": finding.model,
            "modules": list(finding.modules),
            "evidence": dict(finding.evidence),
        },
    }
    if finding.fingerprint:
        result["partialFingerprints"] = {"normadvisor/v1": finding.fingerprint}
    if finding.related:
        result["relatedLocations"] = [
            {
                "id": number,
                "physicalLocation": _physical(Location(other.path, other.line, cell=other.cell), options),
                "message": {"text": _in_cell(other.cell, other.line) + other.message},
            }
            for number, other in enumerate(finding.related)
        ]
    if finding.suppressed:
        kind, reason = REASONS[finding.suppressed]
        result["suppressions"] = [{"kind": kind, "status": "accepted", "justification": f"suppressed by {reason}"}]
    if finding.fix:
        result["properties"]["mend"] = _mend(finding.fix)
        if finding.alternatives:
            result["properties"]["alternatives"] = [_mend(fix) for fix in finding.alternatives]
        # The regions of edits in notebooks would count lines of the JSON text.
        written = [fix for fix in (finding.fix, *finding.alternatives) if fix.edits and not any(edit.cell for edit in fix.edits)]
        if written:
            fixes = [_fix(fix, options) for fix in written]
            result["fixes"] = [fix for position, fix in enumerate(fixes) if fix not in fixes[:position]]
    return result


def _mend(fix: Fix) -> dict[str, str]:
    """A fix in words."""
    words = {"title": fix.title, "tradeOff": fix.trade_off, "refused": fix.refused}
    return {"applicability": fix.applicability, "description": fix.description, **{key: text for key, text in words.items() if text}}


def _locations(finding: Finding, options: RenderOptions) -> list[dict[str, Any]]:
    logical = [{"fullyQualifiedName": name, "kind": "member"} for name in dict.fromkeys(finding.modules) if name]
    if finding.cell is not None:
        logical.append({"name": f"cell {finding.cell}", "kind": "cell"})
    location: dict[str, Any] = {"logicalLocations": logical} if logical else {}
    if finding.path is not None:
        line = finding.line or 1
        span = Location(finding.path, line, finding.column or 1, finding.end_line, finding.end_column, finding.cell)
        location["physicalLocation"] = _physical(span, options)
    return [location] if location else []


def _in_cell(cell: int | None, line: int | None) -> str:
    """The place in a notebook as words: a region would count lines of the JSON text."""
    return "" if cell is None else f"cell {cell}, line {line or 1}: "


def _physical(location: Location, options: RenderOptions) -> dict[str, Any]:
    if location.cell is not None:
        return {"artifactLocation": _artifact(location.path, options)}
    region = {"startLine": location.line, "startColumn": location.column}
    if location.end_line is not None and location.end_line >= location.line:
        region["endLine"] = location.end_line
        if location.end_column is not None:
            region["endColumn"] = location.end_column
    return {"artifactLocation": _artifact(location.path, options), "region": region}


def _artifact(path: str, options: RenderOptions) -> dict[str, str]:
    reference = {"uri": uri(path, options.root)}
    return {**reference, "uriBaseId": BASE} if is_inside(path, options.root) else reference


def _fix(fix: Fix, options: RenderOptions) -> dict[str, Any]:
    changes: dict[str, list[Edit]] = {}
    for edit in fix.edits:
        changes.setdefault(edit.path, []).append(edit)
    return {
        "description": {"text": f"{fix.title}: {fix.description}" if fix.title else fix.description},
        "artifactChanges": [
            {"artifactLocation": _artifact(path, options), "replacements": [_replacement(edit) for edit in edits]}
            for path, edits in changes.items()
        ],
    }


def _replacement(edit: Edit) -> dict[str, Any]:
    region = {"startLine": edit.line, "startColumn": edit.column, "endLine": edit.end_line, "endColumn": edit.end_column}
    return {"deletedRegion": region, "insertedContent": {"text": edit.text}}


def _invocation(report: Report, options: RenderOptions) -> dict[str, Any]:
    notes = [_notification(problem, options) for problem in report.problems]
    for location in report.unused_noqa:
        message = {"text": _in_cell(location.cell, location.line) + "This noqa comment suppresses nothing."}
        notes.append({"level": "note", "message": message, "locations": [{"physicalLocation": _physical(location, options)}]})
    return {"executionSuccessful": not report.problems, "toolExecutionNotifications": notes}


def _notification(problem: Problem, options: RenderOptions) -> dict[str, Any]:
    words = f"Could not check {problem.target}: {problem.message}"
    note: dict[str, Any] = {"level": "error", "message": {"text": f"{words} ({problem.hint})" if problem.hint else words}}
    if problem.location:
        note["message"]["text"] = _in_cell(problem.location.cell, problem.location.line) + note["message"]["text"]
        note["locations"] = [{"physicalLocation": _physical(problem.location, options)}]
    return note
