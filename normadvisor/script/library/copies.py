"""Copies of models, and weights that go from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.script.library.models import as_model, own_mode
from normadvisor.script.library.registry import extern, method
from normadvisor.script.values import NOTHING, Arguments, Choice, Data, Place, Ref, Value, choice

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["copied", "deepcopy", "load_state_dict"]


@extern("copy.deepcopy", "copy.copy", "torch.clone", "copy.deepcopy.deepcopy")
def deepcopy(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """A copy: an object of its own, every part in the mode of the original's."""
    original = arguments.get(0, "x", "input")
    if original is None:
        return NOTHING
    if isinstance(original, Choice):
        copies = [copied(machine, state, member, place, f"copy {index}") for index, member in enumerate(original.values)]
        return choice(copies)
    thing = as_model(machine, original)
    if thing is None:
        listed = machine.thing(original)
        if listed is not None and listed.kind in {"list", "dict"}:
            ref = machine.new(state, listed.kind, place, name=listed.name, tag="copy")
            for field, value in state.fields_of(listed.address).items():
                state.fields[ref.address, field] = copied(machine, state, value, place, f"copy {field}")
            return ref
        return original
    return copied(machine, state, original, place, "copy")


def copied(
    machine: Machine, state: State, value: Value, place: Place, tag: str, *, parent: tuple[int, str] | None = None, depth: int = 6
) -> Value:
    """A copy of a model with its parts; anything else as it is."""
    thing = as_model(machine, value)
    if thing is None or not depth:
        return value
    ref = machine.new(
        state, thing.kind, place, name=thing.name, cls=thing.cls, extern=thing.extern, parent=parent, arguments=thing.arguments, tag=tag
    )
    if ref.address == thing.address:
        return ref
    copy = machine.things[ref.address]
    copy.contents = thing.contents
    copy.facts = {key: fact for key, fact in thing.facts.items() if key not in {"parts", "remembered"}}
    copy.facts["copy_of"] = thing.address
    if thing.address in state.modes or parent is None:
        state.modes[ref.address] = own_mode(machine, state, thing)
    for (address, mark), where in list(state.marks.items()):
        if address == thing.address:
            state.marks[ref.address, mark] = where
    copy.facts["parts"] = {
        name: part
        for name, original in thing.facts.get("parts", {}).items()
        if isinstance(part := copied(machine, state, original, place, f"{tag} {name}", parent=(ref.address, name), depth=depth - 1), Ref)
    }
    for field, item in list(state.fields_of(thing.address).items()):
        state.fields[ref.address, field] = copied(machine, state, item, place, f"{tag} {field}", depth=depth - 1)
    return ref


@method("load_state_dict")
def load_state_dict(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """Weights are loaded into the model."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    if thing.kind == "opaque" and thing.facts.get("fresh"):
        thing.kind = "module"  # a class out of reach that is used like a model
    source = arguments.get(0, "state_dict")
    if isinstance(source, Data) and source.about is not None and "state_dict" in source.origins:
        # Weights of another model: what is known about those holds here.
        for mark in ("loaded", "trained"):
            if (source.about.address, mark) in state.marks:
                state.marks[thing.address, mark] = place
        state.marks[thing.address, "synchronized_from"] = place
    else:
        state.marks[thing.address, "loaded"] = place
    return NOTHING
