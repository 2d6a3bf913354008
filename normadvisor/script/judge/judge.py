"""Judges every event and drops what several paths repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from normadvisor.script.events import Event
from normadvisor.script.judge.calls import judge_call
from normadvisor.script.judge.exports import judge_export
from normadvisor.script.judge.history import History
from normadvisor.script.judge.steps import judge_step
from normadvisor.script.judge.surroundings import Surroundings
from normadvisor.types.events import EVENTS

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project
    from normadvisor.script.values import Thing

__all__ = ["judged", "of_models"]


def judged(events: Sequence[Event], project: Project, script: str) -> list[Event]:
    """Events as rules see them, in the order of their places: purposes filled in, private attributes gone, repetitions dropped.

    Args:
        events: everything recorded.
        project: the files that the events stand in.
        script: path of the file that was analysed.

    """
    history = History(events)
    around = Surroundings(project)
    for event in events:
        if event.kind == "model_call":
            judge_call(event, history, around)
        elif event.kind == "optimizer_step":
            judge_step(event, history)
        elif event.kind == "export":
            judge_export(event, around)
        elif event.kind == "distributed_wrap" and event.attributes.get("batch_size") is None:
            event.attributes["batch_size"] = history.of(event).batch_size
    found: dict[object, Event] = {}
    for event in events:
        if event.location.path != script:
            _note_entry(event, script)
        known = EVENTS[event.kind]
        attributes = {name: event.attributes.get(name) for name in known}
        lines = sorted((name, place[0].line) for name, place in event.places.items())
        key = (event.kind, event.location, repr(sorted(attributes.items(), key=str)), tuple(lines))
        if key not in found:
            found[key] = Event(event.kind, event.location, attributes, event.places, event.text, event.statement)
    return sorted(found.values(), key=lambda event: (event.location.path, event.location.line, event.location.column, event.kind))


def _note_entry(event: Event, script: str) -> None:
    """Note which call of the script led to an event in another file."""
    entry = next((caller for caller in event.attributes["_place"].callers if caller.path == script), None)
    if entry is not None:
        event.places.setdefault("entered_from", (entry, "reached from here"))


def of_models(events: Sequence[Event], things: Mapping[int, Thing]) -> tuple[dict[str, str], dict[str, int]]:
    """Losses and batch sizes of the project's model classes (``path:name``), where a script leaves no doubt."""
    losses: dict[str, set[str]] = {}
    sizes: dict[str, set[int]] = {}
    for event in events:
        name = _class_of(event, things)
        if name is None:
            continue
        if event.kind == "loss_call" and event.attributes.get("loss") in _CONTEXT_LOSSES:
            losses.setdefault(name, set()).add(event.attributes["loss"])
        elif event.kind == "model_call" and event.attributes.get("_backward") and isinstance(event.attributes.get("batch_size"), int):
            sizes.setdefault(name, set()).add(event.attributes["batch_size"])
    return {name: found.pop() for name, found in losses.items() if len(found) == 1}, {name: max(found) for name, found in sizes.items()}


_CONTEXT_LOSSES = frozenset({"cross_entropy", "nll", "bce", "bce_with_logits", "mse", "l1", "huber", "gaussian_nll"})


def _class_of(event: Event, things: Mapping[int, Thing]) -> str | None:
    address: Any = event.attributes.get("_root", event.attributes.get("_model"))
    thing = things.get(address) if isinstance(address, int) else None
    if thing is None or thing.cls is None or thing.kind != "module":
        return None
    return f"{thing.cls.module.path}:{thing.cls.qualname}"
