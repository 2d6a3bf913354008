"""What happened to each model over the whole script."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normadvisor.script.judge.surroundings import holds

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
    batch_size: int | None = None
    """Samples per forward pass in training, the fewest if there are several."""
    frozen: bool = False
    """Some of its parameters were frozen where it is trained."""


class History:
    """What was done with each model, and which calls a backward pass reaches on any path."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._models: dict[int | None, ModelHistory] = {}
        self.backward: set[tuple[Location, tuple[Location, ...]]] = set()
        self.feeding: set[tuple[Location, tuple[Location, ...]]] = set()
        self._trained_at: dict[int | None, set[tuple[Location, tuple[Location, ...]]]] = {}
        self.any_backward = False
        self.any_optimizer = any(event.kind in {"optimizer", "optimizer_step"} for event in events)
        self._first_uses: dict[tuple[int | None, Location], tuple[int, bool]] = {}
        for event in events:
            if event.kind == "model_call":
                self._note_call(event)
            elif event.kind == "optimizer_step" and event.attributes.get("holds_model") != "no":
                self.of(event).stepped = True
        for event in events:
            if event.kind == "model_call":
                self._note_evaluation(event)

    def _note_evaluation(self, event: Event) -> None:
        switched = event.attributes.get("_switched")
        if switched is None:
            return
        training = self.trains(event)
        if not training:
            self.of(event).evaluated.add(switched.location)
        place = event.attributes["_place"]
        same = place.function == switched.function and place.location.path == switched.location.path
        # What stands before the switch runs after it only in the next turn of a loop.
        if same and place.location.line > switched.location.line:
            key = (event.attributes.get("_root"), switched.location)
            number = event.attributes["number"]
            if key not in self._first_uses or number < self._first_uses[key][0]:
                self._first_uses[key] = (number, training)

    def trains(self, event: Event) -> bool:
        """Whether a backward pass reaches the output of a model call, on any path through its place."""
        return event.attributes["grad"] != "off" and spot(event) in self.backward

    def trains_within(self, span: Location) -> bool:
        """Whether a backward pass reaches a call of any model in a span of source, or in what is called from there."""
        return any(holds(span, place) for location, callers in self.backward for place in (location, *callers))

    def trained_within(self, event: Event, span: Location) -> bool:
        """The same of the model of an event."""
        found = self._trained_at.get(event.attributes.get("_root"), ())
        return any(holds(span, place) for location, callers in found for place in (location, *callers))

    def switched_to_evaluate(self, event: Event) -> bool:
        """Whether the mode a model is in was chosen for an evaluation: its first use after the switch is none in training."""
        switched = event.attributes.get("_switched")
        built = event.places.get("built")
        if switched is None or (built is not None and built[0] == switched.location):
            return False  # from_pretrained gives models in eval mode: nobody switched
        first = self._first_uses.get((event.attributes.get("_root"), switched.location))
        if first is not None:
            return not first[1]
        return event.attributes.get("_evaluated") is not None or switched.location in self.of(event).evaluated

    def _note_call(self, event: Event) -> None:
        attributes: dict[str, Any] = event.attributes
        if attributes.get("_backward"):
            self.any_backward = True
            self.backward.add(spot(event))
            self._trained_at.setdefault(attributes.get("_root"), set()).add(spot(event))
            model = self.of(event)
            model.trained = True
            size = attributes.get("batch_size")
            if isinstance(size, int):
                model.batch_size = size if model.batch_size is None else min(size, model.batch_size)
            model.frozen = model.frozen or attributes.get("frozen_parameters") in {"all", "some"}
        if attributes.get("_feeds_backward"):
            self.feeding.add(spot(event))

    def of(self, event: Event) -> ModelHistory:
        """History of the model of an event."""
        return self._models.setdefault(event.attributes.get("_root"), ModelHistory())
