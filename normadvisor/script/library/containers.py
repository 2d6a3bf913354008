"""Containers of modules: ``nn.Sequential`` and its like hold what they are given, in the mode it is in."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from normadvisor.script.library.models import as_model, new_module
from normadvisor.script.project.contents import NOTHING_HELD, UNKNOWN_CONTENTS
from normadvisor.script.state import UNKNOWN_MODE
from normadvisor.script.values import Arguments, Choice, Const, Data, Place, Thing, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["CONTAINERS", "add_item", "add_items", "fill_container", "is_container_class", "slice_of", "sliced"]

CONTAINERS = frozenset({"torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"})


def fill_container(machine: Machine, state: State, thing: Thing, arguments: Arguments) -> None:
    """The parts of ``nn.Sequential(a, b)``, ``nn.ModuleList([a, b])``, ``nn.ModuleDict({...})``, as far as they are known."""
    items: list[tuple[str, Value]] = []
    complete = arguments.double_star is None
    single = len(arguments.positional) == 1 and arguments.star is None
    for value in arguments.positional:
        listed = _listed(machine, state, value) if single else None
        items += listed if listed is not None else [(str(len(items)), value)]
    if arguments.star is not None:
        items.append(("*", arguments.star))
    hidden = False
    for name, value in items:
        if as_model(machine, value) is not None:
            state.fields[thing.address, f"[{name}]"] = value
        elif value != Const(None):
            complete = False
            hidden = hidden or _hides(machine, value)
    if complete:
        _hold_only_items(thing)
    if hidden:
        hide(machine, state, thing)


def _listed(machine: Machine, state: State, value: Value) -> list[tuple[str, Value]] | None:
    """What a single argument lists: names (or numbers) and parts; ``None`` if it is a part itself."""
    if isinstance(value, Tuple):
        return [(str(index), item) for index, item in enumerate(value.items)] + ([("*", value.rest)] if value.rest is not None else [])
    listed = machine.thing(value)
    if listed is not None and listed.kind in {"list", "dict"}:
        return [(name[1:-1], item) for name, item in state.fields_of(listed.address).items() if name.startswith("[")]
    return None


def _hides(machine: Machine, value: Value) -> bool:
    """Whether a value may be a module that was built somewhere out of sight, in whatever mode it is now."""
    if isinstance(value, Choice):
        return any(_hides(machine, member) for member in value.values)
    thing = machine.thing(value)
    return isinstance(value, Data) if thing is None else thing.kind == "opaque"


def _hold_only_items(thing: Thing) -> None:
    """Everything that a container holds is known one by one."""
    thing.facts["container"] = True
    thing.contents = None
    thing.facts["contents"] = NOTHING_HELD


def hide(machine: Machine, state: State, thing: Thing) -> None:
    """A container also holds something that cannot be seen: unless it is switched as a whole, its mode is not known."""
    del machine
    thing.facts.pop("container", None)
    thing.contents = None
    thing.facts["contents"] = UNKNOWN_CONTENTS
    mode = state.modes.get(thing.address)
    if mode is not None and mode.switched is None:
        state.modes[thing.address] = UNKNOWN_MODE


def add_item(machine: Machine, state: State, thing: Thing, value: Value) -> None:
    """``layers.append(part)``."""
    fields = state.fields_of(thing.address)
    if as_model(machine, value) is None:
        if _hides(machine, value):
            hide(machine, state, thing)
        else:
            thing.facts.pop("container", None)
    elif value not in fields.values():
        count = sum(name.startswith("[") for name in fields)
        state.fields[thing.address, f"[{count}]"] = value


def add_items(machine: Machine, state: State, thing: Thing, value: Value) -> None:
    """``layers.extend(parts)``."""
    listed = _listed(machine, state, value)
    if listed is None:
        hide(machine, state, thing)
    for _, item in listed or ():
        add_item(machine, state, thing, item)


def is_container_class(info: ClassInfo, *, assigns: bool) -> bool:
    """Whether a project class is a container with another ``forward``: it extends one, ``assigns`` no parts and does not fill itself."""
    if not info.externals & CONTAINERS or not info.externals <= CONTAINERS | {"torch.nn.Module", "object"} or assigns:
        return False
    names = {name for owner in info.mro() for name in owner.methods}
    return "__init__" not in names


@lru_cache(maxsize=1024)
def slice_of(text: str) -> slice | None:
    """The bounds in the text of a subscript: those of ``layers[:-1]``; ``None`` if they are no literals."""
    try:
        node = ast.parse(f"({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
        return None
    bounds: list[int | None] = []
    for bound in (node.slice.lower, node.slice.upper, node.slice.step):
        try:
            value = None if bound is None else ast.literal_eval(bound)
        except ValueError:
            return None
        if value is not None and not isinstance(value, int):
            return None
        bounds.append(value)
    return slice(*bounds) if bounds[2] != 0 else None


def sliced(machine: Machine, state: State, thing: Thing, key: Value, place: Place) -> Value | None:
    """``model[:5]`` of a container: another one that holds the same parts; ``None`` if it is no slice or the parts are not known."""
    if not isinstance(key, Data) or "slice" not in key.origins:
        return None
    fields = state.fields_of(thing.address)
    items = [value for name, value in fields.items() if name.startswith("[")]
    bounds = slice_of(place.text)
    if not items or "[*]" in fields or not thing.facts.get("container"):
        return None
    ref = new_module(machine, state, place, name=thing.name, extern="torch.nn.Sequential", tag="slice")
    taken = items[bounds] if bounds is not None else items
    for index, value in enumerate(taken):
        state.fields[ref.address, f"[{index}]"] = value
    _hold_only_items(machine.things[ref.address])
    return ref

