"""Rules against the events of one script: what is done twice for one cause is said once, at the first place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.errors import TargetError
from normadvisor.match.compiled_fix import distinct
from normadvisor.match.conditions import CompiledAdjustment
from normadvisor.match.elsewhere import Elsewhere
from normadvisor.match.event_view import view_of
from normadvisor.match.fingerprints import fingerprinted
from normadvisor.match.script_rules import ScriptRule, context_values, script_rules
from normadvisor.rulebook.model import Rule
from normadvisor.types import Confidence, Edit, Finding, Fix, JSONValue, Location, Related, RunContext, Severity

if TYPE_CHECKING:
    from normadvisor.script.events import Event, ScriptModel
    from normadvisor.script.project.modules import Project, SourceModule

__all__ = ["ScriptFindings", "match_script", "script_findings"]

Spot: TypeAlias = tuple[str, int | None, int, int]
"""Path, cell, line and column: what tells places apart."""

_CAUSES = ("switch", "activation", "built")
"""Places that tell why; the first that an event has is its cause."""
_ENTRY = "entered_from"
_EACH_MENDED = frozenset({"dropout_call", "loss_call"})
"""Kinds of events that are mended where they stand: one mistake made at several places takes an edit at each."""
_MOST_ELSEWHERE = 6
"""Further places of one finding shown at most."""


@dataclass(frozen=True, slots=True)
class _Hit:
    """One event that a rule matches, judged."""

    rule: ScriptRule
    event: Event
    scope: dict[str, Any]
    location: Location
    at: str
    """Name of the place that ``location`` is; empty for the event itself."""
    severity: Severity
    confidence: Confidence
    change: CompiledAdjustment | None

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return _spot(self.location)

    @property
    def cause(self) -> Spot | None:
        """Why it is: the last switch of the mode, where the activation stands, or where the model was built."""
        return next((_spot(self.event.places[name][0]) for name in _CAUSES if name in self.event.places), None)

    @property
    def mistake(self) -> object:
        """What hits have in common that are one mistake: function, model and cause, or the way it is written."""
        attributes = self.event.attributes
        within, model = (self.location.path, attributes.get("function")), attributes.get("model")
        if self.event.kind == "dropout_call":
            return (*within, attributes.get("constructed"))
        if self.event.kind == "loss_call":
            return (*within, model, attributes.get("loss"), attributes.get("activation"))
        return self.spot if model is None and self.cause is None else (*within, model, self.cause)

    @property
    def rank(self) -> tuple[int, bool]:
        """How loudly it speaks."""
        return self.severity.rank, self.confidence is Confidence.CONFIRMED


@dataclass(frozen=True, slots=True)
class ScriptFindings:
    """Findings of one script, in the order of their places."""

    own: tuple[Finding, ...] = ()
    """In the script itself."""
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    """In other files, by path."""

    def within(self, holds: Callable[[str], bool]) -> list[Finding]:
        """All findings; those in files that are not looked at stand at the calls that lead there.

        Args:
            holds: whether a file is looked at.

        """
        found = list(self.own)
        for path, other in self.elsewhere.items():
            found += other.there if holds(path) else other.here
        return sorted(found, key=_order)


def match_script(
    script: ScriptModel, rules: Sequence[Rule], context: RunContext, *, root: Path, modules: Mapping[str, SourceModule] | Project
) -> list[Finding]:
    """Findings of the rules that look at scripts, on the events of one file.

    Args:
        script: what the file does.
        rules: all rules of the run; those that look at graphs alone are passed over.
        context: what is known about the training.
        root: folder of the target; what happens in a file outside it is reported at the call in the script that leads there.
        modules: the project, or its files by path, for edits; a finding in a file that is missing here has no edits.

    Returns:
        One finding per event, by file, cell, line, column and rule.

    Raises:
        RuleError: an expression of a rule failed.

    """
    return script_findings(script, rules, context, modules=modules).within(lambda path: Path(path).is_relative_to(root))


def script_findings(
    script: ScriptModel, rules: Sequence[Rule], context: RunContext, *, modules: Mapping[str, SourceModule] | Project
) -> ScriptFindings:
    """The same, where it is not known yet which other files are looked at.

    Raises:
        RuleError: an expression of a rule failed.

    """
    if not script.events:
        return ScriptFindings()
    by_kind: dict[str, list[Event]] = {}
    for event in script.events:
        by_kind.setdefault(event.kind, []).append(event)
    known = context_values(context)
    groups: list[list[_Hit]] = []
    for rule in script_rules(rules, by_kind):
        groups += _merged(_hits(rule, by_kind, known))
    groups = _without_silenced(groups)
    found = fingerprinted(sorted((_finding(group, modules) for group in groups), key=_order))
    here: dict[str, list[list[_Hit]]] = {}
    for group in groups:
        if group[0].location.path != script.path:
            here.setdefault(group[0].location.path, []).extend(_at_entry(group))
    return ScriptFindings(
        tuple(finding for finding in found if finding.path == script.path),
        {
            path: Elsewhere(
                tuple(finding for finding in found if finding.path == path),
                tuple(fingerprinted(sorted((_finding(group, modules) for group in moved), key=_order))),
            )
            for path, moved in sorted(here.items())
        },
    )


def _at_entry(group: Sequence[_Hit]) -> list[list[_Hit]]:
    """A group at the call in the script that leads to its place."""
    entry = group[0].event.places.get(_ENTRY)
    return [[replace(group[0], location=entry[0], at=_ENTRY), *group[1:]]] if entry is not None else []


def _hits(rule: ScriptRule, by_kind: Mapping[str, Sequence[Event]], context: Mapping[str, Any]) -> list[_Hit]:
    """Every event that a rule matches."""
    ground = rule.ground(context)
    if ground is None:
        return []
    scopes = []
    for kind in sorted(rule.kinds & by_kind.keys()):
        for event in by_kind[kind]:
            view = view_of(event)
            scope = {**ground, rule.node: view}
            if rule.matches(scope):
                scopes.append((event, scope))
    return [_judged(rule, event, {**scope, "matches": len(scopes)}) for event, scope in scopes]


def _judged(rule: ScriptRule, event: Event, scope: dict[str, Any]) -> _Hit:
    change = next((adjustment for adjustment in rule.adjust if adjustment.when(scope)), None)
    at = rule.side.at if rule.side.at is not None and rule.side.at in event.places else ""
    return _Hit(
        rule=rule,
        event=event,
        scope=scope,
        location=event.places[at][0] if at else event.location,
        at=at,
        severity=(change and change.severity) or rule.severity,
        confidence=(change and change.confidence) or rule.side.confidence,
        change=change,
    )


def _merged(hits: Sequence[_Hit]) -> list[list[_Hit]]:
    """Groups that are one finding each, the one that speaks first.

    At one place, where several paths may lead, the worst speaks. The same model and cause in one function is one mistake: its first place
    among the worst speaks, and the others are further places.
    """
    places: dict[Spot, _Hit] = {}
    for hit in hits:
        other = places.get(hit.spot)
        if other is None or hit.rank > other.rank:
            places[hit.spot] = hit
    groups: dict[object, list[_Hit]] = {}
    for hit in sorted(places.values(), key=lambda item: (-item.rank[0], _sortable(item.spot))):
        groups.setdefault(hit.mistake, []).append(hit)
    return list(groups.values())


def _without_silenced(groups: Sequence[list[_Hit]]) -> list[list[_Hit]]:
    """Drop what a more precise rule says: at the same place, or on the same cause."""
    spots: dict[str, set[Spot]] = {}
    causes: dict[str, set[Spot]] = {}
    for group in groups:
        name = group[0].rule.rule.id
        for hit in group:
            spots.setdefault(name, set()).update((hit.spot, _spot(hit.event.location)))
            if hit.cause is not None:
                causes.setdefault(name, set()).add(hit.cause)

    def silenced(hit: _Hit) -> bool:
        places = {hit.spot, _spot(hit.event.location)}
        return any(not places.isdisjoint(spots.get(other, ())) or hit.cause in causes.get(other, ()) for other in hit.rule.rule.silenced_by)

    kept = ([hit for hit in group if not silenced(hit)] for group in groups)
    return [group for group in kept if group]


def _finding(group: Sequence[_Hit], modules: Mapping[str, SourceModule] | Project) -> Finding:
    """The finding of a group whose first member speaks."""
    lead = group[0]
    rule, location = lead.rule, lead.location
    message = (lead.change and lead.change.message) or rule.message
    fixes = _fixes(group, modules)
    return Finding(
        rule=rule.rule.id,
        name=rule.rule.name,
        severity=lead.severity,
        confidence=lead.confidence,
        message=" ".join(message(lead.scope).split()),
        path=location.path,
        line=location.line,
        column=location.column,
        end_line=location.end_line,
        end_column=location.end_column,
        cell=location.cell,
        related=tuple(_related(lead, group[1:])),
        evidence={name: _plain(value(lead.scope)) for name, value in rule.evidence.items()},
        fix=fixes[0] if fixes else None,
        alternatives=tuple(fixes[1:]),
        fingerprint=_identity(lead),
    )


def _related(lead: _Hit, others: Iterable[_Hit]) -> list[Related]:
    """The named places of the event and the further places of the same mistake; every line once."""
    found = [lead.event.places[name] for name in lead.rule.side.related if name in lead.event.places]
    if lead.at:
        found.append((lead.event.location, f"leads to `{_shortened(lead.event.text)}`"))
    found += [(hit.location, f"here as well: `{_shortened(hit.event.text)}`") for hit in list(others)[:_MOST_ELSEWHERE]]
    seen = {(lead.location.path, lead.location.cell, lead.location.line)}
    related = []
    for place, words in found:
        line = (place.path, place.cell, place.line)
        if line not in seen:
            seen.add(line)
            related.append(Related(place.path, place.line, words, cell=place.cell))
    return related


def _fixes(group: Sequence[_Hit], modules: Mapping[str, SourceModule] | Project) -> list[Fix]:
    """How to mend it, the default first; what is meant as it is has nothing to be mended."""
    lead = group[0]
    if lead.event.attributes.get("deliberate") is not None:
        return []
    scopes = [hit.scope for hit in group]
    offered = [fix for fix in lead.rule.fixes if fix.offered(scopes)]
    made = []
    for fix in offered:
        edit = fix.template.edit
        edits = _edits(edit, group, modules)
        made.append(replace(fix.worded(lead.scope), edits=edits, refused="" if edits else _refused(edit, lead, modules)))
    return distinct(made)


def _edits(edit: str | None, group: Sequence[_Hit], modules: Mapping[str, SourceModule] | Project) -> tuple[Edit, ...]:
    """The edits of one fix, where the rule names some, the source is at hand and the finding stands in it."""
    lead = group[0]
    if edit is None or lead.at == _ENTRY:
        return ()
    from normadvisor.script.edits import edits_for  # noqa: PLC0415 - few scripts have findings with edits

    edits: dict[Edit, None] = {}
    for hit in group if lead.event.kind in _EACH_MENDED else group[:1]:
        module = _module(modules, hit.event.location.path)
        if module is not None:
            edits.update(dict.fromkeys(edits_for(edit, hit.event, module)))
    return tuple(edits)


def _refused(edit: str | None, lead: _Hit, modules: Mapping[str, SourceModule] | Project) -> str:
    """Why there are no edits, where the rule names some and more is known than that."""
    module = _module(modules, lead.event.location.path) if edit is not None and lead.at != _ENTRY else None
    if edit is None or module is None:
        return ""
    from normadvisor.script.by_hand import why_not  # noqa: PLC0415 - few scripts have findings with edits

    return why_not(edit, lead.event, module)


def _module(modules: Mapping[str, SourceModule] | Project, path: str) -> SourceModule | None:
    """A file of the project; ``None`` if it is not at hand."""
    if isinstance(modules, Mapping):
        return modules.get(path)
    try:
        return modules.load(Path(path))
    except TargetError:
        return None


def _identity(hit: _Hit) -> str:
    """What stays when lines move: the rule, the expression, the model and the function."""
    attributes = hit.event.attributes
    return "\n".join((
        hit.rule.rule.id, " ".join(hit.event.text.split()), hit.at, str(attributes.get("model") or ""),
        str(attributes.get("function") or ""),
    ))  # fmt: skip


def _plain(value: object) -> JSONValue:
    """A value of an expression as JSON."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return str(value)


def _shortened(text: str, width: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 3]}..."


def _spot(location: Location) -> Spot:
    return location.path, location.cell, location.line, location.column


def _sortable(spot: Spot) -> tuple[str, int, int, int]:
    return spot[0], spot[1] or 0, spot[2], spot[3]


def _order(finding: Finding) -> tuple[str, int, int, int, str]:
    return finding.path or "", finding.cell or 0, finding.line or 0, finding.column or 0, finding.rule
