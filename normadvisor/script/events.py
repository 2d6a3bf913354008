"""What a script does, as far as the rules ask: model calls, optimizer steps, exports, losses, each with what is known about it there.

An event is what a script rule matches, as a node is what a graph rule matches. :data:`EVENTS` (in :mod:`normadvisor.types.events`, where
the rule loader finds it) names every kind and its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from normadvisor.types.events import EVENTS, PLACES
from normadvisor.types.location import Location

__all__ = ["EVENTS", "PLACES", "Event", "ScriptModel", "SourceProblem"]


@dataclass(slots=True)
class Event:
    """One event at one place of the source; the same place reached on several paths gives one event per distinct set of attributes.

    ``location`` spans the expression. ``places`` maps names of :data:`PLACES` to a location and the sentence that explains it.
    ``statement`` spans the statement around it, with which edits are described.
    """

    kind: str
    location: Location
    attributes: dict[str, Any] = field(default_factory=dict)
    places: dict[str, tuple[Location, str]] = field(default_factory=dict)
    text: str = ""
    """Source text of the expression, for edits and fingerprints."""
    statement: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProblem:
    """Why a file, or a part of it, could not be analysed."""

    message: str
    location: Location
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptModel:
    """What one file does.

    ``dependencies`` holds every further file that was read to know it, so that a cached result can be checked for freshness.
    ``losses`` maps model classes and factories of this project (``path:name``) to the loss their output goes into, for the rules on the
    traced graph; ``batch_sizes`` maps them to the samples per forward pass in training.
    """

    path: str
    events: tuple[Event, ...] = ()
    problems: tuple[SourceProblem, ...] = ()
    dependencies: tuple[str, ...] = ()
    losses: Mapping[str, str] = field(default_factory=dict)
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
