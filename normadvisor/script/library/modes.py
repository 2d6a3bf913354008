"""Switching modes, and telling in which one a model is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.library.effective import from_elsewhere, mode_of
from normadvisor.script.library.models import (
    STAND_IN,
    ancestors,
    as_model,
    children,
    contents_of,
    descendants,
    own_mode,
)
from normadvisor.script.library.parts import overriding_parts
from normadvisor.script.library.registry import assigned, attribute, extern, method
from normadvisor.script.state import UNKNOWN_MODE, Mode, Training
from normadvisor.script.values import Arguments, Bound, Const, Data, Place, Ref, Thing, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["doubt", "doubt_changes", "flag_of", "mode_of", "restored", "set_mode", "switch_layers"]

_REMEMBERED = "training:"


def flag_of(machine: Machine, state: State, thing: Thing) -> bool | None:
    """``model.training``."""
    for whole in ancestors(machine, thing):
        flag = state.get_field(whole.address, "training")
        if state.modes.get(whole.address) == UNKNOWN_MODE:
            return None  # what was written there before holds no longer
        if isinstance(flag, Const):
            return bool(flag.value)
        if flag is not None:
            return None
        if (mode := state.modes.get(whole.address)) is not None:
            return {"train": True, "eval": False}.get(mode.both)
    return None


def set_mode(machine: Machine, state: State, thing: Thing, training: Training, place: Place) -> None:
    """``train()`` and ``eval()``: the model and all its parts."""
    family = thing.facts.get(STAND_IN)
    if family is not None:
        whole = machine.things.get(thing.facts["whole"])
        if whole is not None:
            switch_layers(machine, state, whole, family, training, place)
        return
    previous = mode_of(machine, state, thing)
    _hand_down(machine, state, thing)
    state.modes[thing.address] = _switched(previous, training, place)
    _remember_flag(state, thing, training)
    for part in overriding_parts(machine, state, thing):
        if training != "unknown":
            _call_override(machine, state, part, training, place)
    for part in _handed(machine, state, thing):
        before = state.modes.get(part.address, UNKNOWN_MODE)
        state.modes[part.address] = _switched(before, training, place)
        _remember_flag(state, part, training)


def _handed(machine: Machine, state: State, thing: Thing) -> list[Thing]:
    """Parts of a model, of any depth, that were built outside of it and given to it, and that do not switch themselves."""
    found: dict[int, Thing] = {}
    for holder in (thing, *descendants(machine, state, thing)):
        for ref in children(machine, state, holder).values():
            part = machine.things[ref.address]
            given = part.parent is None or part.parent[0] != holder.address or part.address in state.modes
            own = part.cls is not None and part.cls.method("train") is not None
            if given and not own and part is not thing and from_elsewhere(machine, thing, part):
                found[part.address] = part
    return list(found.values())


def _hand_down(machine: Machine, state: State, thing: Thing) -> None:
    """Parts built by the model follow it again."""
    for part in descendants(machine, state, thing):
        state.fields.pop((part.address, "training"), None)
        if any(whole is thing for whole in ancestors(machine, part)):
            state.modes.pop(part.address, None)


def _remember_flag(state: State, thing: Thing, training: Training) -> None:
    if training in {"train", "eval"}:
        state.fields[thing.address, "training"] = Const(training == "train")
    else:
        state.fields.pop((thing.address, "training"), None)


def _switched(previous: Mode, training: Training, place: Place) -> Mode:
    """A mode after a switch of the whole, with what it undid."""
    frozen = None if previous.frozen == place else previous.frozen
    if training == "train":
        return Mode("train", "train", place, None, place if frozen else previous.undone, frozen or previous.froze)
    if training == "eval":
        return Mode("eval", "eval", place, frozen, previous.undone, previous.froze, previous.evaluated if previous.both == "eval" else None)
    return Mode("unknown", "unknown", place)


def _call_override(machine: Machine, state: State, part: Thing, training: Training, place: Place) -> None:
    machine.run(state, Bound(Ref(part.address), "train"), Arguments((Const(training == "train"),)), place)


def switch_layers(machine: Machine, state: State, whole: Thing, family: str, training: Training, place: Place) -> None:
    """Switch all layers of one kind: the BatchNorm layers of a model, or everything else that depends on the mode."""
    if family == "plain":
        return
    state.modes.setdefault(whole.address, own_mode(machine, state, whole))
    state.fields.setdefault((whole.address, "training"), _flag_value(machine, state, whole))
    for part in (whole, *descendants(machine, state, whole)):
        mode = state.modes.get(part.address)
        if mode is None:
            continue
        if family == "rest":
            state.modes[part.address] = replace(mode, rest=training)
        elif training == "eval":
            alone = mode.rest != "eval"
            frozen, evaluated = (place, None) if alone else (mode.frozen, mode.evaluated)
            state.modes[part.address] = replace(mode, batchnorm="eval", frozen=frozen, undone=None, froze=None, evaluated=evaluated)
        else:
            state.modes[part.address] = replace(mode, batchnorm=training, frozen=None)


def _flag_value(machine: Machine, state: State, thing: Thing) -> Value:
    flag = flag_of(machine, state, thing)
    return Const(flag) if flag is not None else Data(origins=frozenset({"training"}), about=Ref(thing.address))


def doubt(machine: Machine, state: State, thing: Thing, place: Place) -> None:
    """Something that cannot be seen may have switched the model."""
    _hand_down(machine, state, thing)
    for part in (thing, *descendants(machine, state, thing)):
        if part is thing or part.address in state.modes:
            state.modes[part.address] = Mode("unknown", "unknown", place)
        state.fields.pop((part.address, "training"), None)
    if thing.parent is not None:
        state.modes[thing.address] = Mode("unknown", "unknown", place)


def doubt_changes(state: State, before: dict[int, Mode]) -> None:
    """One of several models was switched: each of them may or may not have been."""
    for address, mode in list(state.modes.items()):
        old = before.get(address)
        if old is not None and old is not mode and (old.batchnorm, old.rest) != (mode.batchnorm, mode.rest):
            state.modes[address] = Mode("unknown", "unknown", mode.switched)
            state.fields.pop((address, "training"), None)


def restored(machine: Machine, value: Value) -> Mode | None:
    """The mode that a value read from ``model.training`` stands for."""
    if not isinstance(value, Data) or value.about is None:
        return None
    thing = machine.things.get(value.about.address)
    for origin in value.origins:
        if thing is not None and origin.startswith(_REMEMBERED):
            mode: Mode = thing.facts["remembered"][int(origin.removeprefix(_REMEMBERED))]
            return mode
    return None


def _truth(value: Value | None, otherwise: Training) -> Training:
    """The mode that an argument of ``train()`` asks for."""
    if value is None:
        return otherwise
    found: set[Training] = {
        ("train" if member.value else "eval") if isinstance(member, Const) else "unknown" for member in members(value)
    }
    return found.pop() if len(found) == 1 else "unknown"


@method("train")
def train(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``model.train(mode=True)``."""
    argument = arguments.get(0, "mode")
    thing = _receiver(machine, receiver)
    if thing is None:
        _restore_saved(machine, state, receiver, argument)
        return None
    if argument is None and not arguments.complete:
        argument = Data()
    if argument is not None and (mode := restored(machine, argument)) is not None:
        _hand_down(machine, state, thing)
        state.modes[thing.address] = mode
        state.fields.pop((thing.address, "training"), None)
    else:
        set_mode(machine, state, thing, _truth(argument, "train"), place)
    return Ref(thing.address)


@extern("torch.nn.Module.eval", "torch.nn.Module.train")
def unbound(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``nn.Module.eval(model)``."""
    if not arguments.positional:
        return None
    rest = Arguments(arguments.positional[1:], arguments.named, arguments.star, arguments.double_star)
    if name.endswith("train"):
        return train(machine, state, arguments.positional[0], "train", rest, place)
    thing = _receiver(machine, arguments.positional[0])
    if thing is not None:
        set_mode(machine, state, thing, "eval", place)
    return arguments.positional[0]


@method("eval")
def evaluate(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``model.eval()``, which calls ``train(False)`` where the class redefines that."""
    thing = _receiver(machine, receiver)
    if thing is None:
        return None
    if thing.cls is not None and thing.cls.method("train") is not None:
        machine.run(state, Bound(Ref(thing.address), "train"), Arguments((Const(False),)), place)
        return Ref(thing.address)
    set_mode(machine, state, thing, "eval", place)
    return Ref(thing.address)


def _receiver(machine: Machine, receiver: Value) -> Thing | None:
    """The model whose mode is switched; an opaque thing that has modes is one."""
    thing = as_model(machine, receiver)
    if thing is not None and thing.kind == "opaque":
        thing.kind = "module"
    return thing


@attribute("training")
def training(machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:  # noqa: ARG001
    """``model.training``: true, false, or a value that remembers the mode, so that ``train(value)`` restores it."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    if thing.facts.get(STAND_IN) is not None:
        whole = machine.things[thing.facts["whole"]]
        state.fields[whole.address, _SAVED] = _remembered(machine, state, whole)
    flag = flag_of(machine, state, thing)
    return Const(flag) if flag is not None else _remembered(machine, state, thing)


def _remembered(machine: Machine, state: State, thing: Thing) -> Data:
    """A value that stands for the mode a model is in now."""
    remembered: list[Mode] = thing.facts.setdefault("remembered", [])
    mode = own_mode(machine, state, thing)
    if mode not in remembered:
        remembered.append(mode)
    return Data(origins=frozenset({f"{_REMEMBERED}{remembered.index(mode)}"}), about=Ref(thing.address))


_SAVED = "(saved)"
"""Field of a model: its mode when that of each of its modules was read, as code does that puts them back one by one."""


def _restore_saved(machine: Machine, state: State, receiver: Value, value: Value | None) -> None:
    """``for m, mode in saved.items(): m.train(mode)``: where the modules come from is lost, so all that were saved are put back."""
    if not isinstance(receiver, Data) or value is None or (isinstance(value, Const) and receiver.calls):
        return
    for (address, name), saved in list(state.fields.items()):
        if name == _SAVED and (mode := restored(machine, saved)) is not None:
            _hand_down(machine, state, machine.things[address])
            state.modes[address] = mode
            state.fields.pop((address, "training"), None)


@assigned
def assign_training(machine: Machine, state: State, receiver: Value, name: str, value: Value, place: Place) -> None:
    """``module.training = value``: of this module alone, but of all layers that a stand-in stands for."""
    if name != "training":
        return
    thing = as_model(machine, receiver)
    if thing is None:
        _restore_saved(machine, state, receiver, value)
        return
    state.fields.pop((thing.address, "training"), None)
    wanted = _truth(value, "unknown")
    if (family := thing.facts.get(STAND_IN)) is not None:
        whole = machine.things.get(thing.facts["whole"])
        if whole is not None:
            switch_layers(machine, state, whole, family, wanted, place)
        return
    if (mode := restored(machine, value)) is not None:
        state.modes[thing.address] = mode
        return
    contents = contents_of(machine, state, thing)
    if contents.layers and not children(machine, state, thing) and len(contents.layers) == 1 and thing.cls is None:
        set_mode(machine, state, thing, wanted, place)
        return
    previous = own_mode(machine, state, thing)
    state.modes[thing.address] = previous
    if wanted in {"train", "eval"}:
        state.fields[thing.address, "training"] = Const(wanted == "train")


@assigned
def assign_statistics(machine: Machine, state: State, receiver: Value, name: str, value: Value, place: Place) -> None:
    """Assignments that change how BatchNorm layers normalize: without running statistics their mode does not matter as usual."""
    thing = as_model(machine, receiver)
    if thing is None or name not in {"track_running_stats", "running_mean", "running_var", "momentum"}:
        return
    whole = machine.things.get(thing.facts["whole"]) if STAND_IN in thing.facts else thing
    if whole is None:
        return
    if name == "momentum":
        state.marks[whole.address, "momentum_set"] = place
    elif value in {Const(False), Const(None)}:
        switch_layers(machine, state, whole, "batchnorm", "unknown", place)


@method("reset_running_stats")
def reset_statistics(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """Statistics are about to be estimated anew."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    state.marks[thing.facts.get("whole", thing.address), "recalibrates"] = place
    return Const(None)
