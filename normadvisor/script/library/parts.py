"""Parts of models: ``model.backbone``, ``model.layers[0]``, resolved when they are first asked for."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from normadvisor.script.library.containers import CONTAINERS, sliced
from normadvisor.script.library.copies import copied
from normadvisor.script.library.factories import is_module_name, is_no_network
from normadvisor.script.library.losses import loss_kind
from normadvisor.script.library.models import STAND_IN, as_model, children, contents_of
from normadvisor.script.library.names import last
from normadvisor.script.library.part_names import (
    MODULE_METHODS,
    NO_MODULES,
    OPAQUE_DATA,
    PARAMETERS,
    PLAIN,
)
from normadvisor.script.library.structure import bound_arguments, structure_of
from normadvisor.script.project.bases import module_kind
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.contents import UNKNOWN_CONTENTS, Contents
from normadvisor.script.project.modules import SourceModule
from normadvisor.script.values import NOTHING, Arguments, Const, Data, Extern, Place, Ref, Thing, Value, choice, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State
    from normadvisor.types import Location

__all__ = ["KEEPING", "MODULE_METHODS", "attribute_of", "item_of", "overriding_parts", "part_names", "part_of"]

def part_names(machine: Machine, thing: Thing) -> list[str] | None:
    """Attributes of a model's class that hold modules; ``None`` if the class is out of reach or adds parts under computed names."""
    if thing.cls is None:
        return None
    memory = machine.project.memory.setdefault("part names", {})
    if thing.cls not in memory:
        structure = structure_of(machine.project, thing.cls)
        closed = not structure.open and not any(_is_model_base(base) for base in thing.cls.externals)
        memory[thing.cls] = closed and [
            name for name, found in structure.assigned.items() if any(_makes_module(machine, owner, node) for owner, node in found)
        ]
    names = memory[thing.cls]
    return names if isinstance(names, list) else None


def _is_model_base(base: str) -> bool:
    """Whether an external base class brings parts of its own."""
    return base not in {"torch.nn.Module", "pytorch_lightning.LightningModule", "object", "abc.ABC"} and is_module_name(base)


def _makes_module(machine: Machine, owner: ClassInfo, node: ast.expr) -> bool:
    """Whether an expression assigned to an attribute may be a module."""
    if isinstance(node, ast.Call):
        found = resolved_callee(machine, owner, node.func)
        if isinstance(found, ClassInfo):
            return found.is_module is not False
        if isinstance(found, str):
            return is_module_name(found)
        return not isinstance(node.func, ast.Name) or node.func.id not in NO_MODULES
    return isinstance(node, ast.Name | ast.Attribute | ast.IfExp | ast.BoolOp | ast.Subscript)


def resolved_callee(machine: Machine, owner: ClassInfo, node: ast.expr) -> object | None:
    """What the callee of an expression in a class means at the top level of its module."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    first = machine.project.lookup(node.id, owner.module)
    return machine.project.attribute(first, names) if first is not None and names else first


def part_of(machine: Machine, state: State, thing: Thing, name: str, place: Place | None = None) -> Ref | None:
    """The part of a model that an attribute holds; ``None`` if it holds none."""
    value = _attribute(machine, state, thing, name, place or thing.place)
    for member in members(value) if value is not None else ():
        if isinstance(member, Ref) and as_model(machine, member) is not None:
            return member
    return None


def overriding_parts(machine: Machine, state: State, thing: Thing) -> list[Thing]:
    """Parts whose class redefines ``train``."""
    found = []
    for ref in children(machine, state, thing).values():
        part = machine.things[ref.address]
        if part.cls is not None and part.cls.method("train") is not None:
            found.append(part)
    if thing.cls is not None:
        for name, assigned in structure_of(machine.project, thing.cls).assigned.items():
            owner, node = assigned[0]
            if not isinstance(node, ast.Call):
                continue
            info = resolved_callee(machine, owner, node.func)
            if isinstance(info, ClassInfo) and info.is_module and info.method("train") is not None:
                made = part_of(machine, state, thing, name)
                if made is not None and all(part.address != made.address for part in found):
                    found.append(machine.things[made.address])
    return found


def attribute_of(machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
    """An attribute of a model, or of something that may be one."""
    thing = machine.thing(receiver)
    if thing is None:
        return Extern(f"{receiver.name}.{name}") if isinstance(receiver, Extern) else None
    if thing.facts.get(STAND_IN) is not None:
        return _stand_in_attribute(thing, name)
    if thing.kind in {"module", "opaque", "ema"}:
        return _attribute(machine, state, thing, name, place)
    if thing.kind == "instance" and name not in MODULE_METHODS:
        return _new_part(machine, state, thing, name, place, kind="opaque")
    return None


def _stand_in_attribute(thing: Thing, name: str) -> Value | None:
    if name in MODULE_METHODS:
        return None
    if name == "__class__":
        known = {"batchnorm": "torch.nn.BatchNorm2d", "rest": "torch.nn.Dropout"}.get(thing.facts[STAND_IN])
        return Extern(known) if known else NOTHING
    return Data(origins=frozenset({"parameter"}), about=Ref(thing.facts["whole"])) if name in PARAMETERS else NOTHING


def _attribute(machine: Machine, state: State, thing: Thing, name: str, place: Place) -> Value | None:
    stored = state.get_field(thing.address, name)
    if stored is not None:
        return stored
    known = thing.facts.get("parts", {}).get(name)
    if known is not None:
        return Ref(known.address)
    structure = structure_of(machine.project, thing.cls) if thing.cls is not None else None
    if structure is not None and name in structure.assigned:
        return _assigned_value(machine, state, thing, name, structure.assigned[name], place)
    if name in {"module", "_orig_mod"}:
        return Ref(thing.address)
    if name in MODULE_METHODS:
        return None
    if name in PARAMETERS:
        return Data(origins=frozenset({"parameter"}), about=Ref(thing.address))
    if name == "__class__" and thing.kind == "module":
        return Extern(thing.cls.name if thing.cls is not None else thing.extern or "torch.nn.Module")
    if name in PLAIN or name.startswith("__"):
        return NOTHING
    if thing.cls is not None and not (structure and structure.open) and part_names(machine, thing) is not None:
        return _class_attribute(thing.cls, name)
    if thing.extern and name.islower() and thing.kind == "module" and name in {"config", "tokenizer", "transforms"}:
        return NOTHING
    return _new_part(machine, state, thing, name, place, kind="opaque" if thing.kind == "opaque" else "module")


def _class_attribute(info: ClassInfo, name: str) -> Value | None:
    found = info.member(name)
    if isinstance(found, tuple) and isinstance(found[1], ast.Assign | ast.AnnAssign) and isinstance(found[1].value, ast.Constant):
        return Const(found[1].value.value)
    return None if found is not None else NOTHING


def _new_part(  # noqa: PLR0913 - what is known of a part
    machine: Machine,
    state: State,
    thing: Thing,
    name: str,
    place: Place,
    *,
    kind: str = "module",
    cls: ClassInfo | None = None,
    extern: str = "",
    arguments: Arguments | None = None,
) -> Ref:
    """A part, remembered under its attribute so that it is the same on every path."""
    parts: dict[str, Ref] = thing.facts.setdefault("parts", {})
    if name not in parts:
        shown = cls.name if cls is not None else extern
        parent = (thing.address, name) if thing.kind != "instance" else None
        parts[name] = machine.new(
            state, kind, place, name=shown, cls=cls, extern=extern, parent=parent, arguments=arguments, tag=f"part {thing.address} {name}"
        )
        part = machine.things[parts[name].address]
        part.facts.setdefault("label", name)
    return parts[name]


@dataclass(frozen=True, slots=True)
class _Site:
    """Where an expression that a class assigns to an attribute is evaluated."""

    thing: Thing
    """The model whose attribute it is."""
    owner: ClassInfo
    """The class whose code it stands in."""
    label: str
    """The attribute, made distinct where an expression has several parts."""
    place: Place
    depth: int = 5

    def inner(self, suffix: str, steps: int = 1) -> _Site:
        """The same for a part of the expression."""
        return _Site(self.thing, self.owner, self.label + suffix, self.place, max(self.depth - steps, 0))


def _assigned_value(
    machine: Machine, state: State, thing: Thing, name: str, assigned: list[tuple[ClassInfo, ast.expr]], place: Place
) -> Value:
    """What the code of the class assigned to an attribute."""
    distinct = assigned[:4]
    values = []
    for index, (owner, node) in enumerate(distinct):
        value = _evaluate(machine, state, _Site(thing, owner, name if index == 0 else f"{name}#{index}", place), node)
        if not (isinstance(value, Const) and value.value is None and len(distinct) > 1):
            values.append(value)
    return choice(values) if values else Const(None)


def _evaluate(machine: Machine, state: State, site: _Site, node: ast.expr) -> Value:
    """What an expression in the constructor of a model's class evaluates to, as far as modules are concerned."""
    if isinstance(node, ast.Constant):
        return Const(node.value)
    if isinstance(node, ast.Name):
        return _named(machine, state, site, node.id)
    if not site.depth:
        return NOTHING
    if isinstance(node, ast.IfExp):
        return choice((_evaluate(machine, state, site.inner(""), node.body), _evaluate(machine, state, site.inner("!"), node.orelse)))
    if isinstance(node, ast.Call):
        return _called(machine, state, site, node)
    if isinstance(node, ast.Attribute):
        whole = as_model(machine, _evaluate(machine, state, site.inner("^"), node.value))
        if whole is None or (whole is site.thing and node.attr == site.label):
            return NOTHING
        return _attribute(machine, state, whole, node.attr, site.place) or NOTHING
    return NOTHING


def _named(machine: Machine, state: State, site: _Site, name: str) -> Value:
    constructor = site.owner.methods.get("__init__")
    if name == "self":
        return Ref(site.thing.address)
    if constructor is None:
        return NOTHING
    known = site.thing.cls is site.owner
    bound = bound_arguments(constructor, site.thing.arguments if known else None)
    local = _local(constructor, name)
    if name in bound and local is None:
        return bound[name]
    if local is not None and site.depth:
        return _evaluate(machine, state, site.inner(""), local)
    parameters = {item.arg for item in (*constructor.args.args, *constructor.args.kwonlyargs)}
    if "(" not in site.label and name in parameters and not any(word in name.lower() for word in OPAQUE_DATA):
        return _new_part(machine, state, site.thing, site.label, site.place, kind="opaque")
    return NOTHING


def _local(constructor: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> ast.expr | None:
    """The expression that a local variable of a constructor was assigned, if it was assigned once."""
    found = _locals(constructor).get(name, ())
    return found[0] if len(found) == 1 and not any(isinstance(item, ast.Name) and item.id == name for item in ast.walk(found[0])) else None


@lru_cache(maxsize=256)
def _locals(constructor: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, list[ast.expr]]:
    """What the local variables of a constructor are assigned."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(constructor):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name) and isinstance(node, ast.Assign):
                found.setdefault(target.id, []).append(node.value)
    return found


KEEPING = frozenset({"to", "cuda", "cpu", "half", "float", "double", "bfloat16", "requires_grad_", "train", "eval", "apply"})
_ALIASES = frozenset({"DataParallel", "DistributedDataParallel", "compile", "script", "convert_sync_batchnorm"})


def _called(machine: Machine, state: State, site: _Site, node: ast.Call) -> Value:
    found = resolved_callee(machine, site.owner, node.func)
    if isinstance(node.func, ast.Attribute) and node.func.attr in KEEPING and not isinstance(found, str | ClassInfo):
        return _evaluate(machine, state, site.inner(""), node.func.value)
    if isinstance(found, str) and last(found) == "deepcopy" and node.args:
        return _copy(machine, state, site, node)
    if isinstance(found, str) and last(found) in _ALIASES and node.args:
        return _evaluate(machine, state, site.inner(""), node.args[0])
    here = Place(site.owner.module.location(node), f"{site.owner.qualname}.__init__", text=site.owner.module.segment(node))
    if isinstance(found, ClassInfo):
        if found.is_module is False and found.method("forward") is None:
            return NOTHING
        return _new_part(machine, state, site.thing, site.label, here, cls=found, arguments=_literal_arguments(machine, state, site, node))
    if isinstance(found, str):
        return _external(machine, state, site, node, found, here)
    if isinstance(found, tuple | SourceModule) or not isinstance(node.func, ast.Name) or node.func.id not in NO_MODULES:
        return _new_part(machine, state, site.thing, site.label, here, kind="module" if isinstance(found, tuple) else "opaque")
    return NOTHING


def _copy(machine: Machine, state: State, site: _Site, node: ast.Call) -> Value:
    """``copy.deepcopy(model)``: a part of its own, the same whenever it is asked for."""
    parts: dict[str, Ref] = site.thing.facts.setdefault("parts", {})
    if site.label not in parts:
        original = _evaluate(machine, state, site.inner("^"), node.args[0])
        here = Place(site.owner.module.location(node), f"{site.owner.qualname}.__init__", text=site.owner.module.segment(node))
        tag = f"copy {site.thing.address} {site.label}"
        made = choice(copied(machine, state, one, here, tag, parent=(site.thing.address, site.label)) for one in members(original))
        if not isinstance(made, Ref):
            return made
        parts[site.label] = made
    return parts[site.label]


def _external(machine: Machine, state: State, site: _Site, node: ast.Call, name: str, place: Place) -> Value:
    """A part made by a library."""
    if (loss := loss_kind(name)) is not None and last(name)[:1].isupper():
        ref = _new_part(machine, state, site.thing, site.label, place, kind="loss", extern=name)
        machine.things[ref.address].facts["loss"] = loss
        return ref
    if not is_module_name(name):
        unknown = module_kind(name) is None and last(name)[:1].isupper() and not is_no_network(name)
        return _new_part(machine, state, site.thing, site.label, place, kind="opaque") if unknown else NOTHING
    arguments = _literal_arguments(machine, state, site, node)
    ref = _new_part(machine, state, site.thing, site.label, place, extern=name, arguments=arguments)
    part = machine.things[ref.address]
    if name in CONTAINERS and part.contents is None:
        part.contents = _written_contents(machine, state, site, node)
    return ref


def _written_contents(machine: Machine, state: State, site: _Site, node: ast.expr) -> Contents | None:
    """Layers of a container that is written out in one expression: those of its class that stand inside; ``None`` if that is not sure."""
    whole = contents_of(machine, state, site.thing) if site.thing.cls is not None else UNKNOWN_CONTENTS
    for item in ast.walk(node):
        if isinstance(item, ast.Starred) or (
            isinstance(item, ast.Call) and not str(resolved_callee(machine, site.owner, item.func) or "?").startswith("torch.nn.")
        ):
            return None
    span = site.owner.module.location(node)
    layers = tuple(layer for layer in whole.layers if layer.location is not None and _inside(span, layer.location))
    kinds = {layer.kind for layer in layers}
    held = {kind: "yes" if kind in kinds else "no" for kind in ("batchnorm", "dropout", "other")}
    if any(getattr(whole, kind) == "unknown" and held[kind] == "no" for kind in held):
        return None
    return Contents(held["batchnorm"], held["dropout"], held["other"], layers)  # type: ignore[arg-type]


def _inside(span: Location, location: Location) -> bool:
    start, end = (span.line, span.column), (span.end_line or span.line, span.end_column or span.column)
    return span.path == location.path and span.cell == location.cell and start <= (location.line, location.column) < end


def _literal_arguments(machine: Machine, state: State, site: _Site, node: ast.Call) -> Arguments:
    """Arguments of a call in a constructor: constants and parameters of the constructor."""
    positional: list[Value] = []
    for index, item in enumerate(node.args):
        if isinstance(item, ast.Starred):
            return Arguments(tuple(positional), star=NOTHING, double_star=NOTHING)
        positional.append(_simple(machine, state, site.inner(f"({index})", 2), item))
    given = [(item.arg, item.value) for item in node.keywords if item.arg is not None]
    named = tuple((name, _simple(machine, state, site.inner(f"({name})", 2), item)) for name, item in given)
    return Arguments(tuple(positional), named, double_star=NOTHING if any(item.arg is None for item in node.keywords) else None)


def _simple(machine: Machine, state: State, site: _Site, node: ast.expr) -> Value:
    return _evaluate(machine, state, site, node) if isinstance(node, ast.Constant | ast.Name) else NOTHING


def item_of(machine: Machine, state: State, receiver: Value, key: Value, place: Place) -> Value | None:
    """``model.layers[0]``, ``models['generator']``."""
    thing = as_model(machine, receiver)
    if thing is None or thing.facts.get(STAND_IN) is not None:
        return None
    if (taken := sliced(machine, state, thing, key, place)) is not None:
        return taken
    if not isinstance(key, Const):
        if isinstance(key, Data | Ref) and not any(name.startswith("[") for name in state.fields_of(thing.address)):
            return _new_part(machine, state, thing, "[*]", place, kind=thing.kind)
        return choice([value for name, value in state.fields_of(thing.address).items() if name.startswith("[")] or [NOTHING])
    index = key.value
    if isinstance(index, int) and index < 0:
        count = sum(name.startswith("[") for name in state.fields_of(thing.address))
        index = index + count if count else index
    stored = state.get_field(thing.address, f"[{index}]") or state.get_field(thing.address, f"[{index!r}]")
    return stored if stored is not None else _new_part(machine, state, thing, f"[{index}]", place, kind=thing.kind)
