"""Going through the parts of a model: ``modules()``, ``children()``, ``parameters()``, ``apply(fn)``, and what is asked of each element.

A loop over the modules of a model runs once for the model itself and once for each kind of layer, with a stand-in for all layers of that
kind: its BatchNorm layers, everything else that depends on the mode, and everything that does not.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library import modes
from normadvisor.script.library.containers import slice_of
from normadvisor.script.library.models import STAND_IN, as_model, children, contents_of, descendants, within
from normadvisor.script.library.names import canonical, last
from normadvisor.script.library.parts import attribute_of, part_names, part_of
from normadvisor.script.library.registry import assigned, extern, method
from normadvisor.script.values import NOTHING, Arguments, Class, Const, Data, Extern, Place, Ref, Thing, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["elements", "is_instance", "item_of_parts", "name_test", "narrow"]

_PARTS = "parts of a model"
_BATCHNORM = frozenset({"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "_BatchNorm", "_NormBase", "SyncBatchNorm", "LazyBatchNorm2d"})
_BATCHNORM_NAMES = frozenset({"BatchNorm", "BatchNormAct2d", "SynchronizedBatchNorm2d", "InPlaceABN", "ABN", "FrozenBatchNorm2d"})
_REST = frozenset(
    {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "_DropoutNd", "DropPath", "StochasticDepth"}
    | {"StochDropout", "Dropout2D"}
)
_TOP = frozenset({"torch.nn.Module", "object"})


def _stand_in(machine: Machine, state: State, whole: Thing, family: str, place: Place) -> Ref:
    """What stands for all layers of one kind; the same object for the same model."""
    known: dict[str, Ref] = whole.facts.setdefault("stand_ins", {})
    if family not in known:
        parent = (whole.address, f"modules() {family}")
        known[family] = machine.new(state, "module", place, parent=parent, tag=f"{family} of {whole.address}")
    thing = machine.things[known[family].address]
    thing.facts.update({STAND_IN: family, "whole": whole.address})
    return known[family]


def _stand_ins(machine: Machine, state: State, whole: Thing, place: Place) -> list[Value]:
    contents = contents_of(machine, state, whole)
    families = ["plain"]
    if contents.dropout != "no" or contents.other != "no":
        families.insert(0, "rest")
    if contents.batchnorm != "no":
        families.insert(0, "batchnorm")
    return [_stand_in(machine, state, whole, family, place) for family in families]


def _sequence(kind: str, thing: Thing) -> Data:
    """What ``model.modules()`` returns: a value that :func:`elements` can go through."""
    return Data(origins=frozenset({_PARTS, kind}), about=Ref(thing.address))


@method(
    "modules", "named_modules", "children", "named_children", "parameters", "named_parameters", "buffers", "named_buffers", "state_dict"
)
def parts(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """The iterators of a module, and its ``state_dict``."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    if thing.kind == "opaque" and name != "children":
        thing.kind = "module"
    whole = machine.things.get(thing.facts["whole"], thing) if STAND_IN in thing.facts else thing
    if name in {"parameters", "named_parameters"}:
        origins = {"parameter", name} | ({f"parameters of {thing.facts[STAND_IN]}"} if STAND_IN in thing.facts else set())
        return Data(origins=frozenset(origins), about=Ref(whole.address))
    if name == "state_dict":
        return Data(origins=frozenset({"state_dict"}), about=Ref(whole.address))
    if name in {"buffers", "named_buffers"}:
        return Data(origins=frozenset({"buffer", name}), about=Ref(whole.address))
    return _sequence(name, thing)


def elements(machine: Machine, state: State, value: Value, place: Place) -> tuple[list[Value], bool] | None:
    """Elements of what the iterators of a module return, of containers of modules, and of things nobody knows."""
    if isinstance(value, Data) and value.about is not None:
        thing = machine.things.get(value.about.address)
        if thing is not None and _PARTS in value.origins:
            return _modules(machine, state, thing, value.origins, place), True
        if "named_parameters" in value.origins or "named_buffers" in value.origins:
            single = Data(value.calls, origins=value.origins - {"named_buffers"}, about=value.about)
            return [Tuple((NOTHING, single))], True
        if "parameters" in value.origins:
            return [value], True
        return None
    thing = as_model(machine, value)
    if thing is None:
        return None
    listed = [item for name, item in state.fields_of(thing.address).items() if name.startswith("[")]
    if thing.kind == "module":
        if listed:
            return listed, bool(thing.facts.get("container"))
        if STAND_IN in thing.facts:
            return None
        return [_every_child(machine, state, thing, place)], True
    return None if not listed else (listed, False)


def _modules(machine: Machine, state: State, thing: Thing, origins: frozenset[str], place: Place) -> list[Value]:
    named = bool(origins & {"named_modules", "named_children"})
    if STAND_IN in thing.facts:
        found: list[tuple[Value, Value]] = [(NOTHING, Ref(thing.address))] if "modules" in origins or "named_modules" in origins else []
    elif origins & {"modules", "named_modules"}:
        found = [(Const(""), Ref(thing.address)), *((_name_of(ref), ref) for ref in _stand_ins(machine, state, thing, place))]
    else:
        found = _children(machine, state, thing, place)
    return [Tuple(pair) if named else pair[1] for pair in found]


def _name_of(ref: Value) -> Value:
    return Data(origins=frozenset({"module name"}), about=ref if isinstance(ref, Ref) else None)


def _children(machine: Machine, state: State, thing: Thing, place: Place) -> list[tuple[Value, Value]]:
    """Each child if the class says which there are, else one that stands for all."""
    if thing.facts.get("container"):
        return [(Const(name[1:-1]), item) for name, item in state.fields_of(thing.address).items() if name.startswith("[")]
    names = part_names(machine, thing)
    if names is None or len(names) > 12:
        return [(NOTHING, _every_child(machine, state, thing, place))]
    found = [(name, part_of(machine, state, thing, name, place)) for name in names]
    return [(Const(name), ref) for name, ref in found if ref is not None]


def item_of_parts(machine: Machine, state: State, receiver: Value, key: Value, place: Place) -> Value | None:
    """``list(model.children())[:-1]`` and ``list(model.children())[0]``."""
    if not isinstance(receiver, Data) or receiver.about is None or _PARTS not in receiver.origins:
        return None
    thing = machine.things.get(receiver.about.address)
    if thing is None:
        return None
    exact = thing.facts.get("container") or part_names(machine, thing) is not None
    exact = receiver.origins & {"children", "named_children"} and exact
    if not isinstance(key, Const) or not isinstance(key.value, int):
        bounds = slice_of(place.text)
        if bounds is None or bounds == slice(None) or not receiver.origins & {"children", "named_children"}:
            return receiver
        if exact:
            return Tuple(tuple(_modules(machine, state, thing, receiver.origins, place)[bounds]))
        child = _every_child(machine, state, thing, place, bounds)
        return Tuple((Tuple((NOTHING, child)) if "named_children" in receiver.origins else child,))
    found = _modules(machine, state, thing, receiver.origins, place)
    return found[key.value] if exact and -len(found) <= key.value < len(found) else _every_child(machine, state, thing, place)


def _every_child(machine: Machine, state: State, thing: Thing, place: Place, bounds: slice | None = None) -> Ref:
    """One part that stands for all children of a model, or for some in a row."""
    parts: dict[str, Ref] = thing.facts.setdefault("parts", {})
    label = "children()" if bounds is None else f"children()[{bounds.start}:{bounds.stop}:{bounds.step}]"
    if label not in parts:
        tag = f"{label.replace('()', '')} of {thing.address}"
        ref = machine.new(state, "module", place, name=thing.name, parent=(thing.address, label), tag=tag)
        child = machine.things[ref.address]
        child.contents = contents_of(machine, state, thing)
        if bounds is not None:
            # Without its head a model holds the layers of its trunk, as a rule.
            child.contents = within(child.contents, "features" if not bounds.start else "")
        child.facts["label"] = label
        parts[label] = ref
    return parts[label]


@method("apply")
def apply(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``model.apply(fn)``: the function is called with every layer, last with the model itself."""
    thing = as_model(machine, receiver)
    function = arguments.get(0, "fn")
    if thing is None or function is None:
        return None
    if not isinstance(function, Extern):
        listed = _stand_ins(machine, state, thing, place) if STAND_IN not in thing.facts else []
        for element in (*listed, Ref(thing.address)):
            machine.run(state, function, Arguments((element,)), place)
    return Ref(thing.address)


@method("get_submodule")
def get_submodule(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``model.get_submodule("layer4.1")``."""
    if as_model(machine, receiver) is None:
        return None
    path = arguments.get(0, "target")
    if not isinstance(path, Const) or not isinstance(path.value, str):
        return NOTHING
    found: Value | None = receiver
    for part in path.value.split("."):
        found = attribute_of(machine, state, found, part, place) if found is not None else None
    return found if found is not None else NOTHING


def is_instance(machine: Machine, state: State, value: Value, classes: list[Value]) -> bool | None:
    """``isinstance`` of a model or of a stand-in for layers; ``None`` if unknown."""
    thing = machine.thing(value)
    if thing is None:
        return None
    answers = [_is_a(machine, state, thing, one) for one in classes]
    if True in answers:
        return True
    return None if None in answers else False


def _is_a(machine: Machine, state: State, thing: Thing, cls: Value) -> bool | None:
    if isinstance(cls, Class):
        return _is_project_class(thing, cls)
    if not isinstance(cls, Extern):
        return None
    name = canonical(cls.name)
    if thing.facts.get(STAND_IN) is not None:
        return _stand_in_is(machine, state, thing, name)
    if thing.kind != "module":
        return None
    if name in _TOP:
        return True
    wrapped = last(name) in {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"}
    if wrapped:
        marks = {mark for address, mark in state.marks if address == thing.address}
        # Which of these wrappers it is in does not matter: `.module` leads to the same object.
        return True if "wrapped" in marks else None if thing.cls is None and not thing.extern else False
    if thing.cls is not None:
        return name in thing.cls.externals or (None if any(base.startswith("?") for base in thing.cls.externals) else False)
    if thing.extern:
        return thing.extern == name or (False if name.startswith("torch.nn.") else None)
    if last(name) not in _BATCHNORM | _REST or not _is_single_layer(machine, state, thing):
        return None if last(name) not in _BATCHNORM | _REST else False
    if thing.parent is not None and thing.parent[1] == "children()":
        # It stands for all children: only some of them are what is asked for.
        modes.doubt(machine, state, thing, thing.place)
    return None


def _is_single_layer(machine: Machine, state: State, thing: Thing) -> bool:
    return thing.parent is not None and not children(machine, state, thing)


def _is_project_class(thing: Thing, cls: Class) -> bool | None:
    if thing.facts.get(STAND_IN) is not None:
        family = thing.facts[STAND_IN]
        bases = {last(base) for base in cls.info.externals}
        if family == "batchnorm" and bases & _BATCHNORM:
            return None
        return None if family == "plain" or (family == "rest" and cls.info.is_module is not False) else False
    if thing.cls is None:
        return None if thing.kind == "opaque" or not thing.extern else False
    return cls.info in thing.cls.mro()


def _stand_in_is(machine: Machine, state: State, thing: Thing, name: str) -> bool | None:
    """Whether the layers that a stand-in stands for are of an external class."""
    tail = last(name)
    family: str = thing.facts[STAND_IN]
    if name in _TOP:
        return True
    if tail in _BATCHNORM or tail in _BATCHNORM_NAMES:
        return _of_rank(machine, state, thing, tail) if family == "batchnorm" else False
    if tail in _REST:
        return family == "rest"
    return False if family == "batchnorm" else None if family == "plain" or "Norm" in tail else False


def _of_rank(machine: Machine, state: State, thing: Thing, tail: str) -> bool | None:
    """Whether a model's BatchNorm layers are of the given class, so far as their names are known."""
    if tail in {"_BatchNorm", "_NormBase", "BatchNorm"}:
        return True
    whole = machine.things.get(thing.facts["whole"])
    known = {layer.name for layer in contents_of(machine, state, whole).layers if layer.kind == "batchnorm"} if whole is not None else set()
    plain = known & _BATCHNORM
    if not plain or plain != known:
        return tail != "SyncBatchNorm" or None
    return True if plain == {tail} else None if tail in plain else False


@extern("type")
def type_of(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``type(m)`` of a stand-in or a model."""
    value = arguments.get(0)
    thing = machine.thing(value) if value is not None else None
    if thing is None or len(arguments.positional) != 1:
        return NOTHING
    if thing.facts.get(STAND_IN) is not None:
        known = _class_name(machine, state, thing)
        return Extern(f"torch.nn.{known}") if known else NOTHING
    if thing.cls is not None:
        return Extern(thing.cls.name)  # which has a name to look into; compared with the class it is the same
    return Extern(thing.extern) if thing.extern and thing.kind == "module" else NOTHING


def _class_name(machine: Machine, state: State, thing: Thing) -> str | None:
    """Class of the layers that a stand-in stands for, if one name will do."""
    family = thing.facts[STAND_IN]
    whole = machine.things.get(thing.facts["whole"])
    layers = contents_of(machine, state, whole).layers if whole is not None else ()
    if family == "batchnorm":
        return next((layer.name for layer in layers if layer.kind == "batchnorm"), "BatchNorm2d")
    return next((layer.name for layer in layers if layer.kind == "dropout"), "Dropout") if family == "rest" else None


def name_test(machine: Machine, state: State, operator: str, operands: list[Value], place: Place) -> Value | None:  # noqa: ARG001
    """``"bn" in name`` over ``named_modules()``: names of BatchNorm layers are as a rule ``bn1`` or ``norm``."""
    if operator not in {"in", "not in"} or len(operands) != 2:
        return None
    wanted, name = operands
    if not (isinstance(wanted, Const) and isinstance(wanted.value, str) and isinstance(name, Data) and "module name" in name.origins):
        return None
    thing = machine.things.get(name.about.address) if name.about is not None else None
    if thing is None or STAND_IN not in thing.facts:
        return None
    text = wanted.value.lower()
    if "bn" in text or "norm" in text:
        inside = thing.facts[STAND_IN] == "batchnorm" or (None if thing.facts[STAND_IN] == "plain" else False)
    elif "drop" in text:
        inside = thing.facts[STAND_IN] == "rest" or (None if thing.facts[STAND_IN] == "plain" else False)
    else:
        inside = None
    return None if inside is None else Const(inside if operator == "in" else not inside)


def narrow(machine: Machine, test: ast.expr, value: Value, *, truth: bool) -> None:
    """A branch on an undecided test was entered. Stand-ins are narrow already; a thing nobody knows becomes a model if the test says so."""
    thing = machine.thing(value)
    if thing is None or thing.kind != "opaque" or not truth or not isinstance(test, ast.Call) or len(test.args) != 2:
        return
    tested = test.args[1]
    if isinstance(tested, ast.Attribute) and tested.attr == "Module":
        thing.kind = "module"


@method("requires_grad_")
def requires_grad(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``model.requires_grad_(False)``, and the same on parameters."""
    wanted = arguments.get(0, "requires_grad")
    thing = as_model(machine, receiver)
    if thing is not None:
        _freeze(machine, state, thing, wanted if wanted is not None else Const(True), place)
        return Ref(thing.address)
    if isinstance(receiver, Data) and receiver.about is not None and "parameter" in receiver.origins:
        assign_requires_grad(machine, state, receiver, "requires_grad", wanted if wanted is not None else Const(True), place)
        return receiver
    return None


@assigned
def assign_requires_grad(machine: Machine, state: State, receiver: Value, name: str, value: Value, place: Place) -> None:
    """``p.requires_grad = False`` for parameters of a model."""
    if name != "requires_grad" or not isinstance(receiver, Data) or receiver.about is None or "parameter" not in receiver.origins:
        return
    whole = machine.things.get(receiver.about.address)
    if whole is None:
        return
    if "parameters" in receiver.origins and not any(origin.startswith("parameters of") for origin in receiver.origins):
        _freeze(machine, state, whole, value, place)
    elif value == Const(False):
        state.marks[whole.address, "partly_frozen"] = place
        state.marks.pop((whole.address, "frozen"), None)


def _freeze(machine: Machine, state: State, thing: Thing, wanted: Value, place: Place) -> None:
    if thing.facts.get(STAND_IN) is not None:
        state.marks[thing.facts["whole"], "partly_frozen"] = place
        return
    parts = [thing, *descendants(machine, state, thing)]
    for part in parts:
        for mark in ("frozen", "unfrozen", "partly_frozen"):
            state.marks.pop((part.address, mark), None)
    mark = "frozen" if wanted == Const(False) else "unfrozen" if wanted == Const(True) else "partly_frozen"
    for part in parts:
        if part is thing or part.parent is None:
            state.marks[part.address, mark] = place
