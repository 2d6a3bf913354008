"""Model objects: what counts as one, its parts, its layers, and where its weights come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.library.structure import structure_of
from normadvisor.script.project.contents import UNKNOWN_CONTENTS, Contents, Held, contents_of_class, contents_of_extern, union
from normadvisor.script.project.facts import facts_of
from normadvisor.script.project.layers import PASS_THROUGH_LAYERS, layer_activation
from normadvisor.script.state import FRESH, UNKNOWN_MODE, Mode, State
from normadvisor.script.values import Arguments, Place, Ref, Thing, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine

__all__ = [
    "MODEL_KINDS", "STAND_IN", "ancestors", "as_model", "children", "contents_of", "descendants", "frozen_parameters", "models_in",
    "new_module", "own_contents", "own_mode", "root_of", "weights_of",
    "within",
]  # fmt: skip

MODEL_KINDS = frozenset({"module", "opaque", "ema"})
"""Kinds of things that can be in a mode."""
STAND_IN = "stand_in"
"""Fact of a thing that stands for several layers of a model at once: ``batchnorm``, ``rest`` or ``plain``."""
_HEADS = frozenset({"fc", "classifier", "head", "heads", "_fc", "last_linear"})
_CONTAINERS = ("list", "dict", "set")


def as_model(machine: Machine, value: Value) -> Thing | None:
    """The model behind a value; ``None`` for anything else."""
    thing = machine.thing(value)
    return thing if thing is not None and thing.kind in MODEL_KINDS else None


def models_in(machine: Machine, state: State, value: Value, depth: int = 3) -> Iterator[Thing]:
    """Models reachable from a value through tuples, lists, dictionaries, alternatives and attributes of plain objects."""
    for member in members(value):
        if isinstance(member, Tuple):
            for item in (*member.items, *([member.rest] if member.rest else [])):
                yield from models_in(machine, state, item, depth)
        elif isinstance(member, Ref):
            thing = machine.things.get(member.address)
            if thing is None:
                continue
            if thing.kind in MODEL_KINDS:
                yield thing
            elif depth and thing.kind in (*_CONTAINERS, "instance"):
                for item in state.fields_of(thing.address).values():
                    yield from models_in(machine, state, item, depth - 1)


def new_module(  # noqa: PLR0913 - what is known of a model when it is built
    machine: Machine,
    state: State,
    place: Place,
    *,
    name: str,
    mode: Mode = FRESH,
    cls: ClassInfo | None = None,
    extern: str = "",
    arguments: Arguments | None = None,
    contents: Contents | None = None,
    tag: str = "",
) -> Ref:
    """A model built at a place, in a mode of its own."""
    ref = machine.new(state, "module", place, name=name, cls=cls, extern=extern, arguments=arguments, tag=tag)
    thing = machine.things[ref.address]
    for part in thing.facts.pop("parts", {}).values():
        forget_history(machine, state, part)
    thing.contents = contents
    thing.facts.pop("base", None)
    state.modes[ref.address] = mode
    return ref


def forget_history(machine: Machine, state: State, ref: Ref) -> None:
    """A part of a model that was built anew: nothing has happened to it yet."""
    state.modes.pop(ref.address, None)
    for key in [key for key in state.marks if key[0] == ref.address]:
        del state.marks[key]
    for field in [field for field in state.fields if field[0] == ref.address]:
        del state.fields[field]
    for part in machine.things[ref.address].facts.get("parts", {}).values():
        forget_history(machine, state, part)


def children(machine: Machine, state: State, thing: Thing) -> dict[str, Ref]:
    """Parts of a model that the analysis has met, by attribute: built by its class, or handed to it from outside."""
    found: dict[str, Ref] = dict(thing.facts.get("parts", {}))
    for name, value in state.fields_of(thing.address).items():
        found.pop(name, None)
        for member in members(value):
            other = as_model(machine, member)
            if other is None or not isinstance(member, Ref) or other is thing or other.facts.get(STAND_IN):
                continue
            if other.kind == "opaque" and other.address not in state.modes and not _runs(thing, name):
                continue  # a setting that the class keeps
            found[name if name not in found else f"{name}|{member.address}"] = member
    return found


def _runs(thing: Thing, name: str) -> bool:
    """Whether a class calls what it keeps under an attribute, or goes through it."""
    if thing.cls is None or name.startswith(("[", "(")):
        return True
    return any(name in facts_of(info).used for info in thing.cls.mro())


def descendants(machine: Machine, state: State, thing: Thing) -> list[Thing]:
    """All parts of a model that the analysis has met, of any depth."""
    found: dict[int, Thing] = {}
    waiting = [thing]
    while waiting:
        for ref in children(machine, state, waiting.pop()).values():
            if ref.address not in found and ref.address != thing.address:
                found[ref.address] = machine.things[ref.address]
                waiting.append(found[ref.address])
    return list(found.values())


def ancestors(machine: Machine, thing: Thing) -> Iterator[Thing]:
    """The model itself, then what it is a part of."""
    seen: set[int] = set()
    current: Thing | None = thing
    while current is not None and current.address not in seen:
        seen.add(current.address)
        yield current
        current = machine.things.get(current.parent[0]) if current.parent else None


def own_mode(machine: Machine, state: State, thing: Thing) -> Mode:
    """The mode that the model, or the nearest whole it is a part of, was put into; parts of its own that differ are not looked at."""
    for whole in ancestors(machine, thing):
        if (mode := state.modes.get(whole.address)) is not None:
            return mode
    return UNKNOWN_MODE


def root_of(machine: Machine, thing: Thing) -> Thing:
    """The whole that a part belongs to."""
    *_, root = ancestors(machine, thing)
    return root


def own_contents(machine: Machine, thing: Thing) -> Contents | None:
    """Layers by class or factory, without regard to what was handed to it or replaced."""
    if thing.contents is not None:
        return thing.contents
    if "contents" not in thing.facts:
        found: Contents | None = None
        if thing.cls is not None:
            found = contents_of_class(machine.project, thing.cls, thing.arguments)
        elif thing.extern:
            found = contents_of_extern(thing.extern, thing.arguments)
        thing.facts["contents"] = found
    result: Contents | None = thing.facts["contents"]
    return result


def contents_of(machine: Machine, state: State, thing: Thing, depth: int = 6, known: dict[int, Contents] | None = None) -> Contents:
    """Layers of a model, those of modules handed to it included.

    ``known`` holds what was found out of its parts so far: models that hold one another would be gone through again and again.
    """
    known = {} if known is None else known
    if thing.address not in known:
        own = own_contents(machine, thing)
        if not depth:
            return own or UNKNOWN_CONTENTS
        known[thing.address] = own or UNKNOWN_CONTENTS  # of a model that holds itself
        known[thing.address] = _contents(machine, state, thing, depth, known)
    return known[thing.address]


def _contents(machine: Machine, state: State, thing: Thing, depth: int, known: dict[int, Contents]) -> Contents:
    own = own_contents(machine, thing)
    handed = []
    for value in state.fields_of(thing.address).values():
        for member in members(value):
            part = as_model(machine, member)
            if part is None or part is thing or part.facts.get(STAND_IN):
                continue
            if part.kind != "opaque" or thing.facts.get("container"):
                handed.append(contents_of(machine, state, part, depth - 1, known))
    if own is None:
        whole = machine.things.get(thing.parent[0]) if thing.parent else None
        own = UNKNOWN_CONTENTS
        if whole is not None and thing.parent is not None:
            own = within(contents_of(machine, state, whole, depth - 1, known), thing.parent[1])
    if not handed:
        return own
    if thing.cls is not None and "unknown" in {own.batchnorm, own.dropout, own.other} and _holds_only_given(machine, state, thing):
        own = replace(own, **{kind: "no" for kind in _KINDS if getattr(own, kind) == "unknown"})  # type: ignore[arg-type]
    if thing.extern and not thing.facts.get("container") and own.dropout == "yes" and _HEADS & state.fields_of(thing.address).keys():
        own = replace(own, dropout="unknown")  # dropout mostly stands in the head, which was replaced
    joined = replace(union(own, *handed), ends_with=own.ends_with, ends_at=own.ends_at)
    if thing.facts.get("container"):
        last = contents_of_last(machine, state, thing, depth - 1)
        joined = last_layer(joined, last)
        if joined.batchnorm == "yes" and joined.batchnorm_over_features == "unknown":
            return replace(joined, batchnorm_over_features=_over_features(machine, state, thing))
    return joined


_KINDS = ("batchnorm", "dropout", "other")


def _holds_only_given(machine: Machine, state: State, thing: Thing) -> bool:
    """Whether everything that a class calls was given to it: a wrapper, of which nothing is unknown but what it wraps."""
    if thing.cls is None:
        return False
    structure = structure_of(machine.project, thing.cls)
    used = {name for info in thing.cls.mro() for name in facts_of(info).used} & structure.assigned.keys()
    given = {name: as_model(machine, value) for name, value in state.fields_of(thing.address).items()}
    return not structure.open and bool(used) and all((part := given.get(name)) is not None and part.kind == "module" for name in used)


_TRUNKS = frozenset(
    {"features", "layer1", "layer2", "layer3", "layer4", "backbone", "body", "encoder", "trunk", "stages", "blocks", "[*]", "visual"}
)
"""Parts of library models that hold the BatchNorm layers of these, as a rule."""


def within(whole: Contents, label: str) -> Contents:
    """What is known of a part of which only the whole is known: it holds nothing that the whole does not hold."""
    kinds = ("batchnorm", "dropout", "other", "batchnorm_over_features")
    held = {kind: "no" if getattr(whole, kind) == "no" else "unknown" for kind in kinds}
    part = replace(UNKNOWN_CONTENTS, **held)  # type: ignore[arg-type]
    if label in _TRUNKS and _drops_in_head_only(whole):
        part = replace(part, dropout="no")
    if label in _TRUNKS and whole.batchnorm == "yes":
        layers = tuple(layer for layer in whole.layers if layer.kind == "batchnorm")
        return replace(part, batchnorm="yes", layers=layers, norms=whole.norms)
    return replace(part, batchnorm="no") if label in _HEADS and all(layer.location is None for layer in whole.layers) else part


def _drops_in_head_only(whole: Contents) -> bool:
    """Whether a convolutional net of a library has dropout just before its last layer, as those without stochastic depth do."""
    if any(layer.location is not None for layer in whole.layers) or any("LayerNorm" in layer.name for layer in whole.norms):
        return False
    return {layer.name for layer in whole.layers if layer.kind == "dropout"} == {"Dropout"}


def last_layer(joined: Contents, last: Contents | None) -> Contents:
    """The layers of a whole that ends as its last part does."""
    return replace(joined, ends_with=last.ends_with if last else None, ends_at=last.ends_at if last else None)


def contents_of_last(machine: Machine, state: State, thing: Thing, depth: int) -> Contents | None:
    """Layers of the last part of a container that does more than hand on its input."""
    parts = [as_model(machine, item) for item in _listed(state, thing)]
    while parts and (last := parts[-1]) is not None and last.extern in PASS_THROUGH_LAYERS:
        parts.pop()
    if not parts or parts[-1] is None:
        return None
    part = parts[-1]
    if (activation := layer_activation(part.extern)) is not None:
        return replace(UNKNOWN_CONTENTS, ends_with=activation, ends_at=part.place.location)
    return contents_of(machine, state, part, depth)


def _listed(state: State, thing: Thing) -> list[Value]:
    """Items of a container in their order."""
    found: list[Value] = []
    while (item := state.get_field(thing.address, f"[{len(found)}]")) is not None:
        found.append(item)
    return found


def _over_features(machine: Machine, state: State, thing: Thing) -> Held:
    """Whether a container normalises one value per sample: BatchNorm1d straight after a linear layer."""
    before = ""
    held: Held = "no"
    for item in _listed(state, thing):
        part = as_model(machine, item)
        name = part.extern if part is not None else "?"
        if name in {"torch.nn.BatchNorm1d", "torch.nn.LazyBatchNorm1d"}:
            if before in {"torch.nn.Linear", "torch.nn.LazyLinear"}:
                return "yes"
            held = "unknown"
        elif layer_activation(name) is None and name not in PASS_THROUGH_LAYERS:
            before = name
    return held


def weights_of(machine: Machine, state: State, thing: Thing) -> str:
    """``trained``, ``loaded``, ``fresh`` or ``unknown``: where the weights come from."""
    parts = descendants(machine, state, thing)
    whole = dict.fromkeys(one for part in (thing, *parts) for one in ancestors(machine, part))
    for mark in ("trained", "loaded"):
        if any((part.address, mark) in state.marks for part in whole):
            return mark
    return "fresh" if root_of(machine, thing).facts.get("fresh") else "unknown"


def frozen_parameters(machine: Machine, state: State, thing: Thing) -> str:
    """``all``, ``some``, ``none`` or ``unknown``: parameters with ``requires_grad=False``."""
    base = "unknown" if root_of(machine, thing).kind == "opaque" else "none"
    for whole in ancestors(machine, thing):
        if (whole.address, "partly_frozen") in state.marks:
            return "some"
        if (whole.address, "frozen") in state.marks:
            base = "all"
            break
        if (whole.address, "unfrozen") in state.marks:
            base = "none"
            break
    for part in descendants(machine, state, thing):
        if (part.address, "partly_frozen") in state.marks:
            return "some"
        frozen, unfrozen = (part.address, "frozen") in state.marks, (part.address, "unfrozen") in state.marks
        fresh_part = part.parent is None and not frozen
        if (frozen and base != "all") or ((unfrozen or fresh_part) and base == "all"):
            return "some"
    return base
