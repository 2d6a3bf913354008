"""What an optimizer was given: which models' parameters, in which groups, with which decay."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import ABOUT, PARAMETERS, leaves, number
from normadvisor.script.library.models import MODEL_KINDS
from normadvisor.script.library.syntax import argument, written_call
from normadvisor.script.values import NOTHING, Arguments, Const, Data, Place, Ref, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["Holding", "covers_norms", "decay_of", "groups_in", "holding_of"]

_DEFAULT_DECAY = {"AdamW": 0.01, "Lion": 0.0, "SparseAdam": 0.0}
_DECAY_POSITION = {"SGD": 4, "Adam": 4, "AdamW": 4, "RMSprop": 4, "Adamax": 4, "NAdam": 4, "RAdam": 4, "Adadelta": 4, "Adagrad": 3}


@dataclass(slots=True)
class Holding:
    """Whose parameters an optimizer holds."""

    models: set[int] = field(default_factory=set)
    """Addresses of the models or of their parts."""
    tensors: bool = False
    """It optimizes a tensor that is no parameter of a model: an image, an embedding, a perturbation."""
    unknown: bool = False
    """It may hold more than is known."""


def holding_of(machine: Machine, state: State, value: Value) -> Holding:
    """Whose parameters a value gives: an iterator, a list, groups, or the model itself."""
    found = Holding()
    for leaf in leaves(machine, state, value):
        if isinstance(leaf, Ref):
            _add_object(machine, leaf, found)
        elif isinstance(leaf, Data):
            _add_data(machine, leaf, found)
        elif not isinstance(leaf, Const):
            found.unknown = True
    if found.models:
        found.tensors = False
    return found


def _add_object(machine: Machine, ref: Ref, found: Holding) -> None:
    thing = machine.things.get(ref.address)
    if thing is not None and thing.kind == "module":
        found.models.add(_whole(machine, ref.address))
    else:
        found.unknown = True


def _add_data(machine: Machine, data: Data, found: Holding) -> None:
    marked = {int(origin[len(ABOUT) :]) for origin in data.origins if origin.startswith(ABOUT)}
    about = machine.things.get(data.about.address) if data.about is not None else None
    if data.origins & PARAMETERS:
        if about is not None and about.kind in MODEL_KINDS:
            marked.add(about.address)
        found.models |= {_whole(machine, address) for address in marked}
        found.unknown = found.unknown or not marked
    elif data.calls or data.origins & {"random", "loader", "loss"}:
        found.tensors = True
    elif data == NOTHING:
        found.unknown = True


def _whole(machine: Machine, address: int) -> int:
    """The model that a stand-in for several of its layers belongs to."""
    whole = machine.things[address].facts.get("whole")
    return whole if isinstance(whole, int) else address


def groups_in(machine: Machine, state: State, value: Value) -> list[dict[str, Value]]:
    """Groups of parameters: dictionaries in a list."""
    found: list[dict[str, Value]] = []
    for member in members(value):
        if isinstance(member, Tuple):
            for item in (*member.items, *([member.rest] if member.rest is not None else [])):
                found.extend(groups_in(machine, state, item))
        thing = machine.thing(member)
        if thing is None:
            continue
        if thing.kind == "dict":
            found.append({name.strip("[]'\""): item for name, item in state.fields_of(thing.address).items()})
        elif thing.kind == "list":
            for item in state.fields_of(thing.address).values():
                if any((inner := machine.thing(one)) is not None and inner.kind == "dict" for one in members(item)):
                    found.extend(groups_in(machine, state, item))
    return found


def decay_of(name: str, arguments: Arguments) -> float | None:
    """The weight decay of an optimizer, as far as a literal or the default of an option tells."""
    short = name.rpartition(".")[2]
    given = arguments.get(_DECAY_POSITION.get(short), "weight_decay")
    if given is not None:
        return number(given)[0]
    if not arguments.complete:
        return None
    return _DEFAULT_DECAY.get(short, 0.0 if short in _DECAY_POSITION else None)


def covers_norms(groups: list[dict[str, Value]], place: Place) -> str:
    """Whether scales and shifts of norm layers are decayed: groups without decay say no, plain ``model.parameters()`` says yes."""
    if groups:
        exempt = any(number(group.get("weight_decay"))[0] == 0 for group in groups)
        return "no" if exempt else "unknown"
    given = argument(written_call(place), 0, "params")
    return "yes" if given is not None and _all_parameters(given) else "unknown"


def _all_parameters(node: ast.expr) -> bool:
    """``model.parameters()``, ``filter(lambda p: p.requires_grad, model.parameters())``, and lists of these."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "parameters":
            return not node.args and not node.keywords
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name == "filter" and len(node.args) == 2:
            return "requires_grad" in ast.unparse(node.args[0]) and _all_parameters(node.args[1])
        return name in {"list", "chain", "iter", "tuple"} and bool(node.args) and all(_all_parameters(item) for item in node.args)
    if isinstance(node, ast.BinOp):
        return _all_parameters(node.left) and _all_parameters(node.right)
    return (
        isinstance(node, ast.ListComp | ast.GeneratorExp)
        and len(node.generators) == 1
        and isinstance(node.elt, ast.Name)
        and all("requires_grad" in ast.unparse(test) for test in node.generators[0].ifs)
        and _all_parameters(node.generators[0].iter)
    )
