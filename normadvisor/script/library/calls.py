"""Calls of models: what is known about them at that moment, and what flows out."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from normadvisor.script.knowledge import lookup
from normadvisor.script.library.flow import gathered, rows_of
from normadvisor.script.library.forgetting import HARMLESS_METHODS, forget_given
from normadvisor.script.library.methods import CONFIGURES, MAY_SWITCH, PLAIN_RUNS, RUNNING_METHODS, RUNS_LAYERS, TENSOR_METHODS
from normadvisor.script.library.models import (
    MODEL_KINDS,
    STAND_IN,
    ancestors,
    as_model,
    contents_of,
    frozen_parameters,
    own_mode,
    root_of,
    weights_of,
)
from normadvisor.script.library.modes import doubt, mode_of
from normadvisor.script.library.parts import MODULE_METHODS, attribute_of
from normadvisor.script.library.structure import structure_of
from normadvisor.script.library.syntax import parsed
from normadvisor.script.project.bases import module_kind
from normadvisor.script.state import UNKNOWN_MODE, Mode, Training, joined_training
from normadvisor.script.values import COMPUTED_NAME, NOTHING, Arguments, Const, Data, Function, Place, Ref, Thing, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.contents import Contents
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State
    from normadvisor.types import Location

__all__ = ["add_model_places", "call_model", "call_other_method", "model_attributes", "model_text", "record_call", "relevant_mode"]

_NOT_A_MODEL = re.compile(
    r"loss|crit|metric|transform|optim|sched|sampler|token|process|logger|writer|callback|collate|augment|print|timer|schedule|_fn$|^fn$|func"
    r"|progress|tqdm|accuracy|score|scaler|loader|dataset|lambda|^log|hook|factory|build|make|create|get_|parser|activation|^act|norm$|reader",
    re.IGNORECASE,
)


def call_model(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``model(x)``."""
    thing = machine.things.get(ref.address)
    if thing is None or thing.kind not in MODEL_KINDS:
        return None
    return run_model(machine, state, thing, arguments, place)


def run_model(machine: Machine, state: State, thing: Thing, arguments: Arguments, place: Place, method: str = "") -> Value:
    """A call of a model or of a part of one: noted unless it stands in the code of a model itself."""
    flow = gathered(machine, state, [value for value in arguments.values() if as_model(machine, value) is None])
    if thing.facts.get(STAND_IN) is not None or _inside_model(machine) or (thing.kind == "opaque" and _other_callable(thing, place)):
        return replace(flow, activation=None, activation_at=None, about=None)
    whole, where = _as_seen_outside(machine, thing, place)
    event = record_call(machine, state, whole, arguments, where, method=method, through_method=whole is not thing)
    contents = contents_of(machine, state, thing)
    ends = contents.ends_with if method in {"", "forward", "__call__"} else None
    ends_at = Place(contents.ends_at, thing.name) if ends and contents.ends_at is not None else place if ends else None
    number: int = event.attributes["number"]
    # What the batch was is known of the output too: it has as many samples.
    kept = flow.origins - {"random", "loader"} | {"model output"}
    if contents.ends_each and method in {"", "forward", "__call__"}:
        outputs = [
            Data(flow.calls | {number}, end, Place(end_at, thing.name) if end_at is not None else place if end else None, kept, None)
            for end, end_at in contents.ends_each
        ]
        return Tuple(tuple(outputs))
    return Data(flow.calls | {number}, ends, ends_at, kept, None)


def _inside_model(machine: Machine) -> bool:
    """Whether the ``forward`` of a model is being executed: its calls of parts are its own business."""
    running = (function.owner for function in machine.stack() if _name(function) in {"forward", "__call__"})
    return any(owner is not None and owner.is_module for owner in running)


_RUNS_ITSELF = re.compile(r"backward\(|\.step\(|\.eval\(|\.train\(|no_grad|inference_mode|set_grad_enabled|optimizer")


def _as_seen_outside(machine: Machine, thing: Thing, place: Place) -> tuple[Thing, Place]:
    """A part that a method of its whole calls: for who called that method, the whole was called, ``model.embed(x)``."""
    depth = 0
    for function in machine.stack():
        owner = function.owner
        if owner is None or not owner.is_module or owner.framework or _RUNS_ITSELF.search(function.module.segment(function.node)):
            break
        depth += 1
    whole = next((one for one in ancestors(machine, thing) if one is not thing and one.cls is not None), None)
    if not depth or whole is None or whole.cls is None or len(place.callers) < depth:
        return thing, place
    if machine.stack()[depth - 1].owner not in whole.cls.mro():
        return thing, place
    location = place.callers[depth - 1]
    around = machine.stack()[depth].qualname if len(machine.stack()) > depth else "<module>"
    return whole, Place(location, around, place.callers[depth:], None, _source(machine, location))


def _source(machine: Machine, location: Location) -> str:
    """The text at a place."""
    for function in machine.stack():
        if function.module.path == location.path and location.end_line is not None and location.cell is None:
            lines = function.module.lines[location.line - 1 : location.end_line]
            if lines:
                lines = [*lines[:-1], lines[-1][: (location.end_column or len(lines[-1]) + 1) - 1]]
                return "\n".join([lines[0][location.column - 1 :], *lines[1:]])
    return ""


def _name(function: Function) -> str:
    return getattr(function.node, "name", "")


def _other_callable(thing: Thing, place: Place) -> bool:
    """Whether a thing nobody knows is, by its name, something else than a model."""
    name = model_text(place.text).rpartition(".")[2]
    return thing.facts.get("checkpoint") is None and bool(_NOT_A_MODEL.search(name))


def call_other_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A method that nobody handles: of a model, it runs the model, or it is a part that is called."""
    thing = as_model(machine, receiver)
    if thing is None:
        return gathered(machine, state, arguments.values()) if name in HARMLESS_METHODS and not isinstance(receiver, Ref) else None
    if name in {"forward", "__call__"}:
        return run_model(machine, state, thing, arguments, place, name)
    if thing.facts.get(STAND_IN) is not None or name in MODULE_METHODS:
        return NOTHING
    if name == COMPUTED_NAME:
        if not _given_data(machine, arguments):
            doubt(machine, state, thing, place)
        return gathered(machine, state, arguments.values())
    if name not in RUNNING_METHODS and not _is_part(machine, thing, name):
        if name in TENSOR_METHODS or (name.endswith("_") and not name.startswith("_")):
            return gathered(machine, state, arguments.values())  # of a parameter or a buffer
        if CONFIGURES.match(name):
            return _configure(machine, state, thing, name, arguments, place)
    if thing.kind == "opaque" and not _is_met_as_model(state, thing) and name != "generate":
        return _unknown_method(machine, state, name, arguments, place)
    if name not in PLAIN_RUNS and not RUNS_LAYERS.search(name) and _is_out_of_reach(thing):
        return _unknown_method(machine, state, name, arguments, place, keep=thing)  # it may switch the mode itself, or run nothing
    if name in RUNNING_METHODS and not _is_part(machine, thing, name):
        return run_model(machine, state, thing, arguments, place, name)
    part = attribute_of(machine, state, receiver, name, place)
    held = machine.thing(part) if part is not None else None
    if held is not None and held.kind == "loss" and part is not None:
        return machine.run(state, part, arguments, place)
    for member in members(part if part is not None else NOTHING):
        found = as_model(machine, member)
        if found is not None and (found.cls is not None or found.extern or _given_data(machine, arguments)):
            return run_model(machine, state, found, arguments, place)
    return _unknown_method(machine, state, name, arguments, place, keep=thing)


def _configure(machine: Machine, state: State, thing: Thing, name: str, arguments: Arguments, place: Place) -> Value:
    """A method that by its name sets something up: it runs no layer, but it may switch modes."""
    if MAY_SWITCH.search(name) and (thing.kind == "module" or thing.address in state.modes):
        doubt(machine, state, thing, place)
    return _unknown_method(machine, state, name, arguments, place, keep=thing)


def _is_out_of_reach(thing: Thing) -> bool:
    """Whether a model was built by a class or function of which nothing is known but its name."""
    fresh = thing.facts.get("fresh") and thing.cls is None and thing.parent is None
    return bool(fresh and thing.extern and lookup(thing.extern) is None and module_kind(thing.extern) is not True)


def _is_met_as_model(state: State, thing: Thing) -> bool:
    return thing.address in state.modes and thing.facts.get("fresh") is None


def _unknown_method(machine: Machine, state: State, name: str, arguments: Arguments, place: Place, keep: Thing | None = None) -> Value:
    """``anything.method(...)``: data flow through it, and it may switch the models it is given."""
    forget_given(machine, state, name, arguments, place, keep)
    return gathered(machine, state, arguments.values())


def _is_part(machine: Machine, thing: Thing, name: str) -> bool:
    assigned = structure_of(machine.project, thing.cls).assigned if thing.cls is not None else {}
    return name in assigned or name in thing.facts.get("parts", {})


def _given_data(machine: Machine, arguments: Arguments) -> bool:
    given = [*arguments.values()]
    return bool(given) and all(machine.thing(value) is None and not isinstance(value, Const) for value in given[:1])


@lru_cache(maxsize=4096)
def model_text(text: str, *, through_method: bool = False) -> str:
    """The expression that names the model in the text of a call: ``self.model`` of ``self.model(x)`` and of ``self.model.forward(x)``."""
    try:
        node = ast.parse(f"({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text.partition("(")[0].strip()
    if isinstance(node, ast.Await):
        node = node.value
    if not isinstance(node, ast.Call):
        return text
    called = node.func
    if isinstance(called, ast.Attribute) and (through_method or called.attr in RUNNING_METHODS):
        called = called.value
    return ast.unparse(called)


def _text_of_whole(machine: Machine, thing: Thing, text: str, place: Place) -> str:
    """What the whole is called where a part is: ``net`` for ``net.encoder[0]``; parts called in one function go by the same name."""
    written: dict[str, str] = root_of(machine, thing).facts.setdefault("written", {})
    node = parsed(text)
    for part in ancestors(machine, thing):
        inner = node.value if isinstance(node, ast.Attribute | ast.Subscript) else None
        if part.parent is None or inner is None or (isinstance(inner, ast.Name) and inner.id in {"self", "cls"}):
            break
        node = inner
    if thing.parent is None or node is None or isinstance(node, ast.Call):
        return text
    return written.setdefault(place.function, ast.unparse(node))


def relevant_mode(mode: Mode, contents: Contents) -> Training:
    """The mode of what depends on it."""
    if contents.batchnorm == "no" and contents.mode_dependent != "no":
        return mode.rest
    if contents.dropout == contents.other == "no" and contents.batchnorm != "no":
        return mode.batchnorm
    return joined_training(mode.batchnorm, mode.rest)


def model_attributes(machine: Machine, state: State, thing: Thing | None, text: str, place: Place) -> dict[str, Any]:
    """What every event about a model says of it."""
    if thing is None:
        mode, contents, weights = UNKNOWN_MODE, None, "unknown"
    else:
        mode, contents, weights = mode_of(machine, state, thing), contents_of(machine, state, thing), weights_of(machine, state, thing)
        root = root_of(machine, thing)
        if root.kind == "opaque" and root.facts.get("fresh"):
            mode = UNKNOWN_MODE  # a class out of reach that was not used like a model yet
    unknown = "unknown"
    return {
        "model": text,
        "class_name": next((one.name for one in ancestors(machine, thing) if one.name), None) if thing is not None else None,
        "mode": relevant_mode(mode, contents) if contents is not None else unknown,
        "batchnorm_mode": mode.batchnorm,
        "dropout_mode": mode.rest,
        "batchnorm": contents.batchnorm if contents is not None else unknown,
        "dropout": _any_of(contents.dropout, contents.other) if contents is not None else unknown,
        "mode_dependent": contents.mode_dependent if contents is not None else unknown,
        "layers": [str(layer) for layer in contents.layers] if contents is not None else [],
        "weights": weights,
        "function": place.function,
        "_model": thing.address if thing is not None else None,
        "_root": root_of(machine, thing).address if thing is not None else None,
        "_averaged": thing is not None and _marked(machine, state, thing, "averaged"),
        "_recalibrates": thing is not None and _marked(machine, state, thing, "recalibrates"),
        "_frozen": mode.frozen,
        "_undone": mode.undone,
        "_froze": mode.froze,
        "_evaluated": mode.evaluated,
        "_switched": mode.switched,
        "_framework": thing.cls.framework if thing is not None and thing.cls is not None else None,
        "_kind": thing.kind if thing is not None else None,
    }


def _any_of(*held: str) -> str:
    return "yes" if "yes" in held else "unknown" if "unknown" in held else "no"


def _marked(machine: Machine, state: State, thing: Thing, mark: str) -> bool:
    return any((whole.address, mark) in state.marks for whole in ancestors(machine, thing))


def add_model_places(machine: Machine, state: State, event: Event, thing: Thing | None) -> None:
    """Where the model was built, what makes its mode matter, and the last switch."""
    if thing is None:
        return
    mode, contents = mode_of(machine, state, thing), contents_of(machine, state, thing)
    root = root_of(machine, thing)
    if root.kind == "module" and (root.cls is not None or root.extern):
        event.places.setdefault("built", (root.place.location, _building(root.name)))
    layer = next((layer for layer in contents.layers if layer.location is not None), None)
    if layer is not None and layer.location is not None:
        event.places.setdefault("layer", (layer.location, f"contains {layer.name}"))
    if mode.switched is not None:
        event.places.setdefault("switch", (mode.switched.location, _switching(mode, root)))
    freeze = mode.frozen or mode.froze
    if freeze is not None:
        event.places.setdefault("freeze", (freeze.location, "BatchNorm is put into eval mode here"))
    else:
        for whole in ancestors(machine, thing):
            if (frozen := state.marks.get((whole.address, "frozen"))) is not None:
                event.places.setdefault("freeze", (frozen.location, "parameters are frozen here"))
    if mode.undone is not None:
        event.places.setdefault("undone", (mode.undone.location, "train() undoes the freeze here"))


def _building(name: str) -> str:
    """``ResNet is built here``; of a factory, which is no model itself, ``built here by timm.create_model``."""
    if name and name.rpartition(".")[2][:1].islower():
        return f"built here by {name}"
    return f"{name or 'the model'} is built here"


def _switching(mode: Mode, root: Thing) -> str:
    """What the last switch did: a model that its factory returns in eval mode was not put into it there."""
    if mode.switched is not None and mode.switched.location == root.place.location:
        return f"comes in {mode.both} mode" if mode.both in {"train", "eval"} else "comes in a mode of its own"
    return {"train": "put into train mode here", "eval": "put into eval mode here"}.get(mode.both, "its mode is switched here")


def record_call(
    machine: Machine, state: State, thing: Thing, arguments: Arguments, place: Place, *, method: str = "", through_method: bool = False
) -> Event:
    """Note a call of a model with all that is known about it now; its purpose is judged later."""
    contents = contents_of(machine, state, thing)
    flow = gathered(machine, state, arguments.values())
    text = _text_of_whole(machine, thing, model_text(place.text, through_method=through_method), place)
    known = model_attributes(machine, state, thing, text, place)
    batch_size, last_batch, loader = _batch(machine, arguments)
    function = machine.enclosing()
    event = machine.record(
        "model_call",
        place,
        **known,
        grad=state.grad,
        purpose="unknown",
        purpose_reason=None,
        deliberate=None,
        input="random" if "random" in flow.origins else "data" if flow.origins & {"loader", "dataset", "file"} else "unknown",
        updates_statistics=known["batchnorm_mode"] == "train" and contents.batchnorm == "yes",
        batch_size=batch_size,
        last_batch=last_batch,
        batchnorm_over_features=contents.batchnorm_over_features,
        frozen_parameters=frozen_parameters(machine, state, thing),
        _origins=flow.origins,
        _input_calls=flow.calls,
        _method=method,
        _no_grad=state.no_grad,
        _loops=len(machine.loops()),
        _callers=place.callers,
        _in_module=function is not None and function.owner is not None and function.owner.is_module is True,
        _reads_training=contents.reads_training,
    )
    add_model_places(machine, state, event, thing)
    if state.no_grad is not None:
        event.places["no_grad"] = (state.no_grad.location, "gradients are switched off here")
    if loader is not None:
        event.places["loader"] = (loader.place.location, "the data loader is built here")
    if place.callers:
        event.places["called_from"] = (place.callers[0], "called from here")
    _note_evaluation(machine, state, thing, place)
    return event


def _note_evaluation(machine: Machine, state: State, thing: Thing, place: Place) -> None:
    """A call without gradients in eval mode is an evaluation."""
    if state.grad != "off" or own_mode(machine, state, thing).both != "eval":
        return
    for whole in ancestors(machine, thing):
        mode = state.modes.get(whole.address)
        if mode is not None:
            if mode.evaluated is None:
                state.modes[whole.address] = replace(mode, evaluated=place)
            return


def _batch(machine: Machine, arguments: Arguments) -> tuple[int | None, int | None, Thing | None]:
    """Samples per call, samples of a smaller last batch, and the loader they come from, so far as literals tell."""
    for value in arguments.values():
        for member in members(value):
            if isinstance(member, Data) and member.about is not None:
                thing = machine.things.get(member.about.address)
                if thing is not None and thing.kind == "loader":
                    return thing.facts.get("batch_size"), thing.facts.get("last_batch"), thing
            if isinstance(member, Data) and (rows := rows_of(member)) is not None:
                return rows, None, None
    return None, None, None
