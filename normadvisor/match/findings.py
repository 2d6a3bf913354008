"""From matches to findings: words, severity, place, evidence; one finding per event."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.match.compiled import CompiledPattern, CompiledRule
from normadvisor.match.conditions import Text
from normadvisor.match.fixes import FixMaker
from normadvisor.match.matcher import Match
from normadvisor.match.places import Place, Places
from normadvisor.match.values import item_of, json_value, module_name
from normadvisor.match.views import ChainView
from normadvisor.types import Confidence, Finding, Related, Severity

__all__ = ["FindingMaker"]

_MOST_ELSEWHERE = 4
"""Further places of a finding about the whole model shown at most."""


@dataclass(frozen=True, slots=True)
class _Event:
    """One match, judged: what grouping needs to know. Words are made for the events that lead a group only."""

    match: Match
    scope: dict[str, Any]
    item: NodeInfo | ModuleInfo
    modules: tuple[str, ...]
    place: Place | None
    severity: Severity
    confidence: Confidence
    message: Text


class FindingMaker:
    """Makes the findings of one rule on one graph."""

    def __init__(self, graph: ModelGraph, rule: CompiledRule, places: Places) -> None:
        self._graph = graph
        self._compiled = rule
        self._rule = rule.rule
        self._places = places
        self._fixes = FixMaker(rule.fixes, places)
        pattern = rule.pattern
        self._anchor_name = pattern.node
        self._chain_name = pattern.chain.node if isinstance(pattern, CompiledPattern) and pattern.chain else None

    def findings(self, matches: Sequence[Match]) -> list[Finding]:
        """One finding per construction or call site, or one for the model, as the rule says."""
        events = [self._event(match, len(matches)) for match in matches]
        if not events:
            return []
        if self._rule.report == "model":
            return [self._of_model(events)]
        groups: dict[object, list[_Event]] = {}
        for position, event in enumerate(events):
            groups.setdefault(event.place.frame.location if event.place else position, []).append(event)
        return [self._of_site(group) for group in groups.values()]

    def _event(self, match: Match, matches: int) -> _Event:
        scope = {**match.scope, "matches": matches}
        item, modules = self._pointed_at(match)
        change = next((adjustment for adjustment in self._compiled.adjust if adjustment.when(scope)), None)
        return _Event(
            match=match,
            scope=scope,
            item=item,
            modules=modules,
            place=self._places.of(item),
            severity=(change and change.severity) or self._rule.severity,
            confidence=(change and change.confidence) or self._rule.confidence,
            message=(change and change.message) or self._compiled.message,
        )

    def _pointed_at(self, match: Match) -> tuple[NodeInfo | ModuleInfo, tuple[str, ...]]:
        """The node or module the finding is about, and the names of the modules concerned."""
        named = match.scope.get(self._rule.at) if self._rule.at else None
        run = match.scope.get(self._chain_name) if self._chain_name and self._rule.at in {None, self._chain_name} else None
        item = item_of(named) or match.anchor
        modules = run["modules"] if isinstance(run, ChainView) else [module_name(item)]
        return item, tuple(name for name in modules if name)

    def _of_site(self, group: Sequence[_Event]) -> Finding:
        lead = _lead(group)
        modules = _modules(group)
        message = lead.message(lead.scope)
        own = len(lead.modules) or 1
        if len(modules) > own:
            more = len(modules) - own
            built = lead.place is not None and lead.place.built
            what = "layer" if built else "module"
            message += f" (and {more} more {what}{'s' * (more > 1)} {'built by' if built else 'running'} this line)"
        return self._finding(group, message, modules, lead.place, self._related(lead, lead.place))

    def _of_model(self, events: Sequence[_Event]) -> Finding:
        lead = _lead(events)
        placed = [event.place for event in events if event.place is not None]
        own = next((place for place in placed if place.own), None)
        place = own or self._places.of_model() or (placed[0] if placed else None)
        related: list[Related] = []
        seen = {(place.frame.location.path, place.frame.location.line)} if place else set()
        for event in events:
            if event.place is None or event.place.own != (own is not None):
                continue
            location = event.place.frame.location
            if (location.path, location.line) in seen or len(related) >= _MOST_ELSEWHERE:
                continue
            seen.add((location.path, location.line))
            related.append(_told(event.item, event.place))
        return self._finding(events, lead.message(lead.scope), _modules(events), place, related)

    def _finding(
        self, events: Sequence[_Event], message: str, modules: tuple[str, ...], place: Place | None, related: Iterable[Related]
    ) -> Finding:
        rule, lead = self._rule, _lead(events)
        location = place.frame.location if place else None
        fixes = self._fixes.fixes(lead.scope, [event.scope for event in events])
        return Finding(
            rule=rule.id,
            name=rule.name,
            severity=lead.severity,
            confidence=lead.confidence,
            message=message,
            path=location.path if location else None,
            line=location.line if location else None,
            column=location.column if location else None,
            end_line=location.end_line if location else None,
            end_column=location.end_column if location else None,
            model=self._graph.target,
            modules=modules,
            related=tuple(related),
            evidence={name: json_value(value(lead.scope)) for name, value in self._compiled.evidence.items()},
            fix=fixes[0] if fixes else None,
            alternatives=tuple(fixes[1:]),
            fingerprint=_identity(rule.id, place, self._graph.target, modules),
        )

    def _related(self, lead: _Event, place: Place | None) -> list[Related]:
        """The forward call, the places of other named nodes, and the calls that led to the place; every line once."""
        found: list[Related] = []
        if place is not None:
            found += self._places.forward_call(lead.item, place)
        for name in self._rule.related:
            item = item_of(lead.scope.get(name))
            where = self._places.of(item) if item is not None else None
            if item is not None and where is not None:
                found.append(_told(item, where))
        if place is not None:
            found += place.called_from()
        own = (place.frame.location.path, place.frame.location.line) if place else None
        lines = {(related.path, related.line): related for related in reversed(found)}
        return [related for related in found if lines[related.path, related.line] is related and (related.path, related.line) != own]


def _label(item: NodeInfo | ModuleInfo) -> str:
    """A short name for a reader: the module, or the operation where a function is called."""
    if isinstance(item, ModuleInfo):
        return f"`{item.name}`"
    return f"`{item.module}`" if item.cls and item.module else f"the {item.op} of `{item.module or 'the model'}`"


def _told(item: NodeInfo | ModuleInfo, place: Place) -> Related:
    """A further place, and what stands there."""
    location = place.frame.location
    return Related(location.path, location.line, f"{_label(item)} is {'built' if place.built else 'called'} here")


def _lead(events: Sequence[_Event]) -> _Event:
    """The first event of the highest severity: it speaks for the others."""
    return max(events, key=lambda event: event.severity.rank)


def _modules(events: Iterable[_Event]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for event in events for name in event.modules))


def _identity(rule: str, place: Place | None, target: str, modules: Sequence[str]) -> str:
    """What makes a finding the same after lines moved or its file was renamed: the line's text and the function it stands in."""
    if place is None:
        return "\n".join((rule, target.rpartition(":")[2], *modules))
    location = place.frame.location
    return "\n".join((rule, linecache.getline(location.path, location.line).strip(), place.frame.function))
