"""What happened to each model over the whole script."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from normadvisor.script.events import Event
    from normadvisor.types import Location

__all__ = ["History", "ModelHistory", "spot"]


def spot(event: Event) -> tuple[Location, tuple[Location, ...]]:
    """Place of an event and the calls that led there: the same on every path through it."""
    return event.location, event.attributes["_place"].callers


@dataclass(slots=True)
class ModelHistory:
    """What was done with one model."""

    trained: bool = False
    """A backward pass reaches an output of it."""
    stepped: bool = False
    """An optimizer that holds it, or may, takes a step."""
    evaluated: set[Location] = field(default_factory=set)
    """Switches into eval mode after which it was used without a backward pass."""
    frozen: bool = False
    """Some of its parameters were frozen where it is trained."""


class History:
    """What was done with each model, and which calls a backward pass reaches on any path."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._models: dict[int | None, ModelHistory] = {}
        self.backward: set[tuple[Location, tuple[Location, ...]]] = set()
        self.feeding: set[tuple[Location, tuple[Location, ...]]] = set()
        self.any_backward = False
        for event in events:
            if event.kind == "model_call":
                self._note_call(event)
            elif event.kind == "optimizer_step" and event.attributes.get("holds_model") != "no":
                self.of(event).stepped = True
        for event in events:
            if event.kind == "model_call" and spot(event) not in self.backward and event.attributes["mode"] in {"eval", "mixed"}:
                switched = event.attributes.get("_switched")
                if switched is not None:
                    self.of(event).evaluated.add(switched.location)

    def _note_call(self, event: Event) -> None:
        attributes: dict[str, Any] = event.attributes
        if attributes.get("_backward"):
            self.any_backward = True
            self.backward.add(spot(event))
            model = self.of(event)
            model.trained = True
            model.frozen = model.frozen or attributes.get("frozen_parameters") in {"all", "some"}
        if attributes.get("_feeds_backward"):
            self.feeding.add(spot(event))

    def of(self, event: Event) -> ModelHistory:
        """History of the model of an event."""
        return self._models.setdefault(event.attributes.get("_root"), ModelHistory())
