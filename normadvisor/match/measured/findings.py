"""From measurements to findings: layers that a rule speaks of, words, places, and the static finding that explains them."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from normadvisor.match.conditions import CompiledAdjustment
from normadvisor.match.fingerprints import fingerprinted
from normadvisor.match.measured.compiled import CompiledProbe, compile_probe
from normadvisor.match.measured.values import plain_value
from normadvisor.match.measured.views import LayerView, context_view, views_of
from normadvisor.match.silenced import without_silenced
from normadvisor.rulebook.model import Rule
from normadvisor.rulebook.vocabulary import RUN_LINES
from normadvisor.types import Finding, JSONValue, Location, Measurements, Related, RunContext

__all__ = ["measured_findings"]

_MOST_ELSEWHERE = 4
"""Further places of a finding shown at most."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class _Hit:
    """A layer that a rule speaks of, or the run, judged."""

    layer: LayerView | None
    scope: dict[str, Any]
    change: CompiledAdjustment | None


def measured_findings(
    measurements: Measurements,
    rules: Sequence[Rule],
    context: RunContext,
    root: Path,
    *,
    static: Sequence[Finding] = (),
    place: Location | None = None,
) -> list[Finding]:
    """Findings of the rules of scope ``probe`` on one measured model.

    Args:
        measurements: what was measured.
        rules: the rules of the run; those of other scopes are passed over.
        context: what is known about the training.
        root: folder or file of the target; of several layers one that is constructed under it leads.
        static: findings of static rules on the same model; those that explain a measured one are named by it.
        place: where the model is defined, for findings about the run.

    Returns:
        One finding per line of construction, or one per model, as each rule says; in order of execution.

    Raises:
        RuleError: an expression of a rule failed.

    """
    layers, run = views_of(measurements)
    maker = _Maker(measurements.target, {"probe": run, "context": context_view(context)}, root, static, place)
    findings: list[Finding] = []
    for rule in rules:
        if rule.scope == "probe":
            findings += maker.findings(compile_probe(rule), layers)
    return fingerprinted(without_silenced(findings, rules))


class _Maker:
    """Makes the findings of rules on one measured model."""

    def __init__(self, target: str, ground: dict[str, Any], root: Path, static: Sequence[Finding], place: Location | None) -> None:
        self._target = target
        self._ground = ground
        self._root = root.resolve()
        self._static = [finding for finding in static if finding.model == target]
        self._place = place

    def findings(self, rule: CompiledProbe, layers: Sequence[LayerView]) -> list[Finding]:
        """Findings of one rule."""
        ground = dict(self._ground)
        for name, value in rule.values.items():
            ground[name] = value(ground)
        if rule.when is not None and not rule.when(ground):
            return []
        if rule.layer is None:
            if not rule.where(ground):
                return []
            named = _names(ground["probe"].get(rule.rule.at)) if rule.rule.at else []
            about: list[LayerView | None] = [view for view in layers if view["name"] in named]
            line = _line(ground["probe"].get(RUN_LINES.get(rule.rule.at or "", "")))
            return [self._finding(rule, [_hit(rule, view, {**ground, "matches": 1}) for view in about or [None]], line)]
        suited = [view for view in layers if rule.ops is None or view["op"] in rule.ops]
        found = [view for view in suited if rule.where({**ground, rule.layer: view})]
        return [self._finding(rule, self._hits(rule, group, ground, found)) for group in self._groups(rule.rule, found)]

    def _groups(self, rule: Rule, found: Sequence[LayerView]) -> list[list[LayerView]]:
        """Layers that share a finding: all of them, or those that one line constructs."""
        if rule.report == "model":
            return [list(found)] if found else []
        groups: dict[object, list[LayerView]] = {}
        for view in found:
            location = view.layer.location
            groups.setdefault((location.path, location.cell, location.line) if location else view["name"], []).append(view)
        return list(groups.values())

    @staticmethod
    def _hits(rule: CompiledProbe, group: Sequence[LayerView], ground: dict[str, Any], found: Sequence[LayerView]) -> list[_Hit]:
        name = str(rule.layer)
        shared = {**ground, f"{name}_all": list(group), "matches": len(found)}
        return [_hit(rule, view, {**shared, name: view}) for view in group]

    def _finding(self, rule: CompiledProbe, hits: Sequence[_Hit], line: Location | None = None) -> Finding:
        """One finding on some layers, placed at ``line`` where that is given."""
        lead = max(hits, key=lambda hit: ((hit.change and hit.change.severity) or rule.rule.severity).rank)
        words, severity, confidence = rule.message, rule.rule.severity, rule.rule.confidence
        if lead.change is not None:
            words = lead.change.message or words
            severity, confidence = lead.change.severity or severity, lead.change.confidence or confidence
        modules = tuple(hit.layer["name"] for hit in hits if hit.layer is not None and hit.layer["name"])
        place = line or self._where(hits)
        fix = next((fix.worded(lead.scope) for fix in rule.fixes if fix.offered([hit.scope for hit in hits])), None)
        evidence: dict[str, JSONValue] = {name: plain_value(value(lead.scope)) for name, value in rule.evidence.items()}
        finding = Finding(
            rule=rule.rule.id,
            name=rule.rule.name,
            severity=severity,
            confidence=confidence,
            message=" ".join(words(lead.scope).split()),
            model=self._target,
            modules=modules,
            related=tuple(self._elsewhere(hits, place)),
            evidence={name: value for name, value in evidence.items() if value is not None},
            fix=fix,
            fingerprint="\n".join((rule.rule.id, *_identity(place, self._target, modules))),
        )
        return self._explained(rule.rule, _placed(finding, place))

    def _where(self, hits: Sequence[_Hit]) -> Location | None:
        """Where the first of the layers is constructed, one in the user's own files if there is one; else where the model is defined."""
        places = [hit.layer.layer.location for hit in hits if hit.layer is not None and hit.layer.layer.location is not None]
        return next((place for place in places if self._own(place)), places[0] if places else self._place)

    def _own(self, place: Location) -> bool:
        try:
            inner = Path(place.path).resolve().relative_to(self._root)
        except (ValueError, OSError):
            return False
        return _INSTALLED.isdisjoint(inner.parts)

    @staticmethod
    def _elsewhere(hits: Sequence[_Hit], place: Location | None) -> list[Related]:
        """Lines that construct the other layers, from the first to the last."""
        seen = {(place.path, place.line)} if place else set()
        found = []
        for hit in hits:
            location = hit.layer.layer.location if hit.layer is not None else None
            if hit.layer is None or location is None or (location.path, location.line) in seen:
                continue
            seen.add((location.path, location.line))
            found.append(Related(location.path, location.line, f"`{hit.layer}` is built here", location.cell))
        # Where it ends matters more than what lies between.
        return found if len(found) <= _MOST_ELSEWHERE else [*found[: _MOST_ELSEWHERE - 1], found[-1]]

    def _explained(self, rule: Rule, finding: Finding) -> Finding:
        """The finding with references to static findings that name its cause: on its layers, or anywhere where it names none."""
        named = set(finding.modules)
        causes = [
            cause
            for wanted in rule.explained_by
            for cause in self._static
            if cause.rule == wanted and (not named or not cause.modules or _touches(named, cause.modules))
        ]
        if not causes:
            return finding
        related = [Related(cause.path, cause.line or 1, f"{cause.rule}: {cause.message}", cause.cell) for cause in causes if cause.path]
        explained: JSONValue = list(dict.fromkeys(cause.rule for cause in causes))
        return replace(
            finding,
            related=(*related[:_MOST_ELSEWHERE], *finding.related),
            evidence={**finding.evidence, "explained_by": explained},
        )


def _names(value: object) -> list[str]:
    """Names of layers: one or several."""
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]


def _line(value: object) -> Location | None:
    """A line that a fact names as ``path:line``."""
    path, _, line = str(value or "").rpartition(":")
    return Location(path, int(line)) if path and line.isdigit() else None


def _hit(rule: CompiledProbe, layer: LayerView | None, scope: dict[str, Any]) -> _Hit:
    return _Hit(layer, scope, next((change for change in rule.adjust if change.when(scope)), None))


def _touches(named: set[str], modules: Sequence[str]) -> bool:
    """Whether two findings concern the same layers, one inside the other included."""
    return any(
        name == module or name.startswith(f"{module}.") or module.startswith(f"{name}.") for name in named for module in modules
    )


def _placed(finding: Finding, place: Location | None) -> Finding:
    if place is None:
        return finding
    return replace(
        finding,
        path=place.path,
        line=place.line,
        column=place.column,
        end_line=place.end_line,
        end_column=place.end_column,
        cell=place.cell,
    )


def _identity(place: Location | None, target: str, modules: Sequence[str]) -> tuple[str, ...]:
    """What makes a finding the same after lines moved: the text of its line."""
    if place is None:
        return (target.rpartition(":")[2], *modules)
    return (linecache.getline(place.path, place.line).strip(), target.rpartition(":")[2])
