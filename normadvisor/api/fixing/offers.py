"""What can be mended: the fixes of findings, agreed on by all models that show them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from normadvisor.api.fixing.choices import Candidate
from normadvisor.api.fixing.groups import with_common_groups
from normadvisor.api.outcome import Outcome
from normadvisor.types import Applicability, Finding, Fix, Operation

__all__ = ["SCRIPTS", "Offer", "Sighting", "identity", "offers"]

SCRIPTS = (-1, -1)
"""In place of a model's position: what was found by reading files."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One finding as one model, or the scripts, gave it."""

    model: tuple[int, int]
    """Position of the job and of the model in it, or :data:`SCRIPTS`."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate, and everywhere that it was seen."""

    candidate: Candidate
    sightings: tuple[Sighting, ...]

    def operations(self, fix: Fix, model: tuple[int, int]) -> tuple[Operation, ...]:
        """What a fix does to the layers of one model."""
        for sighting in self.sightings:
            same = _same(fix, sighting.finding) or _like(fix, sighting.finding)
            if sighting.model == model and same is not None:
                return same.operations
        return ()

    def holds(self, model: tuple[int, int]) -> bool:
        """Whether a model has the finding."""
        return any(sighting.model == model for sighting in self.sightings)


def offers(active: Iterable[Finding], scripts: Iterable[Finding], outcomes: Sequence[Sequence[Outcome]]) -> dict[Hashable, Offer]:
    """What is offered for findings, by :func:`identity` and in their order.

    Args:
        active: findings of the report that are not suppressed.
        scripts: all findings from reading files.
        outcomes: of all models.

    """
    seen: dict[Hashable, list[Sighting]] = {}
    for sighting in _sightings(scripts, outcomes):
        seen.setdefault(identity(sighting.finding), []).append(sighting)
    found: dict[Hashable, Offer] = {}
    for finding in active:
        fixes = list(_fixes(finding))
        if not fixes or identity(finding) in found:
            continue
        sightings = tuple(seen.get(identity(finding), ()))
        agreed = [_agreed(fix, finding, sightings) for fix in fixes]
        own = replace(finding, fix=agreed[0], alternatives=tuple(agreed[1:]))
        candidate = Candidate(own, tuple(fix for fix in agreed if fix.edits), tuple(fix for fix in agreed if not fix.edits))
        found[identity(finding)] = Offer(candidate, sightings)
    return found


def identity(finding: Finding) -> Hashable:
    """What findings of several models have in common that are about one place of the source."""
    if finding.path is None:
        return finding.rule, finding.model, finding.fingerprint
    return finding.rule, os.path.realpath(finding.path), finding.cell, finding.line, finding.column


def _sightings(scripts: Iterable[Finding], outcomes: Sequence[Sequence[Outcome]]) -> Iterator[Sighting]:
    yield from (Sighting(SCRIPTS, finding) for finding in scripts)
    for job, of_job in enumerate(outcomes):
        for model, outcome in enumerate(of_job):
            yield from (Sighting((job, model), finding) for finding in outcome.findings)


def _fixes(finding: Finding) -> Iterator[Fix]:
    if finding.fix is not None:
        yield finding.fix
    yield from finding.alternatives


def _same(fix: Fix, finding: Finding) -> Fix | None:
    """The fix of another model's finding that makes the same edits."""
    return next((other for other in _fixes(finding) if other.edits and set(other.edits) == set(fix.edits)), None)


def _agreed(fix: Fix, finding: Finding, sightings: Sequence[Sighting]) -> Fix:
    """A fix as all models that show the finding agree on it; refused where they ask for different edits of one place."""
    if fix.applicability is Applicability.DISPLAY:
        return replace(fix, edits=())
    for sighting in sightings:
        other = sighting.finding
        if not fix.edits or other.model == finding.model:
            continue
        same = _same(fix, other)
        if same is not None:
            if same.applicability is Applicability.UNSAFE:
                fix = replace(fix, applicability=Applicability.UNSAFE)
            continue
        # Where another model is offered nothing of the kind, trying it tells whether that model minds.
        like = _like(fix, other)
        if like is not None:
            refused = replace(fix, edits=(), refused=like.refused or f"{other.model} would need another edit of the same place")
            fix = with_common_groups(fix, like) or refused
    return fix


def _like(fix: Fix, finding: Finding) -> Fix | None:
    """The fix of another model's finding that does the same to layers of the same kind."""
    return next((other for other in _fixes(finding) if other.operations and _does(other) == _does(fix)), None)


def _does(fix: Fix) -> frozenset[tuple[str, str, str]]:
    return frozenset((operation.kind.value, operation.layer, operation.argument) for operation in fix.operations)
