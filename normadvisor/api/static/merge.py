"""One event, one finding: what a script shows and what the traced model shows may be the same mistake."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from normadvisor.types import Confidence, Finding, Related

__all__ = ["merged"]


def merged(scripts: Sequence[Finding], traced: Sequence[Finding]) -> list[Finding]:
    """Findings of both kinds. Where two of one rule share a place, the more certain one stays and names the other's place."""
    left = list(traced)
    done: list[Finding] = []
    for finding in scripts:
        places = _places(finding)
        same = [other for other in left if other.rule == finding.rule and not places.isdisjoint(_places(other))]
        for other in same:
            left.remove(other)
        done.append(_joined(finding, same))
    return [*done, *left]


def _joined(script: Finding, traced: Sequence[Finding]) -> Finding:
    """The more certain of several findings about one event; of equal ones that of the script, which knows where the model is used."""
    if not traced:
        return script
    winner = max((script, *traced), key=lambda finding: (finding.confidence is Confidence.CONFIRMED, finding.severity.rank))
    related = list(winner.related)
    for loser in (script, *traced):
        if loser is not winner and loser.path is not None and loser.line is not None and _place(loser) not in _places(winner):
            words = "the script shows it here" if loser is script else "the traced model shows it here"
            related.append(Related(loser.path, loser.line, words, cell=loser.cell))
    modules = winner.modules or next((other.modules for other in traced if other.modules), ())
    model = winner.model or next((other.model for other in traced if other.model), None)
    return replace(winner, related=tuple(related), modules=modules, model=model)


def _place(finding: Finding) -> tuple[str, int | None, int | None]:
    return os.path.realpath(finding.path or ""), finding.cell, finding.line


def _places(finding: Finding) -> set[tuple[str, int | None, int | None]]:
    if finding.path is None:
        return set()
    return {_place(finding), *((os.path.realpath(other.path), other.cell, other.line) for other in finding.related)}
