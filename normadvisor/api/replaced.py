"""What the replacements of an optimized model are as findings: confirmed by measurement, or withdrawn by it."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.match.fingerprints import fingerprinted
from normadvisor.match.places import Places
from normadvisor.types import Confidence, Finding, Location, Withdrawn
from normadvisor.types.optimization import VERDICTS, Optimization, Ratio, Replacement

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.rulebook.model import Rule

__all__ = ["findings_of"]

_UNDECIDED = frozenset({"not measured", "not proven"})
"""Verdicts that leave open whether the replacement would be faster."""


def findings_of(
    found: Optimization, rules: Sequence[Rule], graph: ModelGraph | None, root: Path
) -> tuple[tuple[Finding, ...], tuple[Withdrawn, ...]]:
    """Findings of the rules about replacements, one for each row of the table.

    What was kept is confirmed, what could not be measured or proven is suspected, and what measurement speaks against is withdrawn.

    Args:
        found: what came of the model.
        rules: those that may speak.
        graph: of the model before, for the lines that construct its layers; ``None`` where it could not be traced.
        root: findings point into files below it when they can.

    """
    by_id = {rule.id: rule for rule in rules}
    findings = [_finding(row, by_id[row.rule], found.target, graph, root) for row in found.replacements if row.rule in by_id]
    rows = [row for row in found.replacements if row.rule in by_id]
    told: list[Finding] = []
    withdrawn: list[Withdrawn] = []
    for row, finding in zip(rows, fingerprinted(findings), strict=True):
        if row.kept or row.verdict in _UNDECIDED:
            told.append(finding)
        else:
            withdrawn.append(Withdrawn(finding=finding, reason=row.reason or VERDICTS[row.verdict]))
    return tuple(told), tuple(withdrawn)


def _finding(row: Replacement, rule: Rule, target: str, graph: ModelGraph | None, root: Path) -> Finding:
    modules = tuple(dict.fromkeys(name for name in row.modules if name))
    location = None if graph is None else _location(modules, graph, root)
    where = f" at {modules[0]}" + (f" and {len(modules) - 1} more" if len(modules) > 1 else "") if modules else ""
    line = "" if location is None else linecache.getline(location.path, location.line).strip()
    found = Finding(
        rule=rule.id, name=rule.name, severity=rule.severity, confidence=Confidence.CONFIRMED if row.kept else Confidence.SUSPECTED,
        message=f"{row.pattern}{where}: {row.replacement} {_gain(row)}", model=target, modules=modules, evidence=_evidence(row),
        fingerprint="\n".join((rule.id, row.pattern, row.replacement, line or target.rpartition(":")[2])),
    )  # fmt: skip
    if location is None:
        return found
    return replace(
        found, path=location.path, line=location.line, column=location.column, end_line=location.end_line, end_column=location.end_column
    )


def _gain(row: Replacement) -> str:
    if not row.kept:
        return f"could be faster, {VERDICTS[row.verdict].partition(':')[0]}" + (f" ({row.reason})" if row.reason else "")
    words = []
    if row.kernel is not None:
        words.append(f"{row.kernel.median:.2f} times as fast alone")
    if row.end_to_end is not None:
        words.append(f"the whole model {row.end_to_end.median:.2f} times")
    return f"is {', '.join(words)}" if row.kernel is not None else f"makes {', '.join(words)} as fast" if words else "was asked for"


def _evidence(row: Replacement) -> Mapping[str, Any]:
    """The numbers, under the names of the table."""

    def times(name: str, ratio: Ratio | None) -> dict[str, Any]:
        return {} if ratio is None else {f"{name}_ratio": ratio.median, f"{name}_quartiles": [ratio.low, ratio.high]}

    error = {} if row.error is None else {"error_before": row.error.before, "error_after": row.error.after}
    memory = {} if row.memory is None else {"memory_ratio": row.memory}
    return {
        **times("kernel", row.kernel), **times("end_to_end", row.end_to_end), **memory, **error, "proof": row.proof, "verdict": row.verdict,
    }  # fmt: skip


def _location(modules: Sequence[str], graph: ModelGraph, root: Path) -> Location | None:
    """The line that constructs the first layer, where it is known."""
    places = Places(graph, root)
    infos = [graph.modules[name] for name in modules if name in graph.modules]
    place = next((place for info in infos if (place := places.of(info)) is not None), None)
    return None if place is None else place.frame.location
