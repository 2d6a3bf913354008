"""Where models come from: classes of the project, layers, factories, checkpoints, copies."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library.models import MODEL_KINDS, as_model, new_module
from normadvisor.script.library.names import last
from normadvisor.script.library.registry import extern, method
from normadvisor.script.library.structure import bound_arguments, structure_of
from normadvisor.script.project.bases import module_kind
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.externals import STANDARD
from normadvisor.script.state import FRESH, UNKNOWN_MODE, Mode
from normadvisor.script.values import NOTHING, Arguments, Const, Data, Place, Ref, Thing, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["build_class", "build_extern", "is_module_name"]


def lookup(name):
    from normadvisor.script.knowledge import lookup as l  # TEMP
    return l(name)


CONTAINERS = frozenset({"torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"})
_EVALUATED_WHEN_LOADED = ("transformers.", "diffusers.", "peft.", "optimum.")
_NO_MODELS = (
    "Tokenizer", "TokenizerFast", "Processor", "Config", "FeatureExtractor", "Scheduler", "GenerationConfig", "Trainer", "Arguments", "Collator",
    "Dataset", "DataLoader", "Callback", "Parser", "Logger", "Writer", "Error", "Transform", "Compose", "Meter", "Metric", "Loss", "Criterion",
    "Optimizer", "Sampler", "Counter", "Path", "Timer", "Augmentation", "Streamer", "Args", "Params", "Options", "Environment", "Env", "Buffer",
)  # fmt: skip


def is_module_name(name: str) -> bool:
    """Whether an external class or factory makes modules."""
    if module_kind(name) is True:
        return True
    known = lookup(name)
    return known is not None and known.kind in {"module", "factory"}


def build_extern(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A model made by an external class or factory; ``None`` if it makes none."""
    known = lookup(name)
    if known is not None and known.kind in {"module", "factory"}:
        mode = {"train": FRESH, "eval": Mode("eval", "eval", place)}.get(known.initial_mode, UNKNOWN_MODE)
        return _from_factory(machine, state, name, arguments, place, mode)
    owner, _, tail = name.rpartition(".")
    if tail in {"from_pretrained", "from_config"} and last(owner)[:1].isupper() and not last(owner).endswith(_NO_MODELS):
        mode = UNKNOWN_MODE
        if name.startswith(_EVALUATED_WHEN_LOADED):
            mode = Mode("eval", "eval", place) if tail == "from_pretrained" else FRESH
        return _from_factory(machine, state, owner, arguments, place, mode, loaded=tail == "from_pretrained")
    kind = module_kind(name)
    if kind is True and tail[:1].isupper():
        ref = _from_factory(machine, state, name, arguments, place, FRESH)
        if name in CONTAINERS:
            fill_container(machine, state, machine.things[ref.address], arguments)
        return ref
    if kind is None and tail[:1].isupper() and not tail.isupper() and not tail.endswith(_NO_MODELS) and name.partition(".")[0] not in STANDARD:
        # A class out of reach. It is a model if it is used like one, and then it was built in train mode.
        ref = machine.new(state, "opaque", place, name=name, extern=name, arguments=arguments)
        machine.things[ref.address].facts["fresh"] = True
        state.modes[ref.address] = FRESH
        return ref
    return None


def _from_factory(
    machine: Machine, state: State, name: str, arguments: Arguments, place: Place, mode: Mode, *, loaded: bool = False
) -> Ref:
    ref = new_module(machine, state, place, name=name, mode=mode, extern=name, arguments=arguments)
    machine.things[ref.address].facts["fresh"] = True
    weights = arguments.get(None, "pretrained", "weights", "encoder_weights", "weights_backbone", "checkpoint_path")
    if weights is None and name.startswith(("timm.create_model", "torchvision.models.")):
        weights = arguments.get(1 if name.startswith("timm") else 0)
    given = weights is not None and weights not in {Const(False), Const(None), Const("")}
    if loaded or given:
        state.marks[ref.address, "loaded"] = place
    elif weights is None and not arguments.complete:
        machine.things[ref.address].facts["fresh"] = False
    return ref


def fill_container(machine: Machine, state: State, thing: Thing, arguments: Arguments) -> None:
    """The parts of ``nn.Sequential(a, b)``, ``nn.ModuleList([a, b])``, ``nn.ModuleDict({...})``, as far as they are known."""
    items: list[tuple[str, Value]] = [(str(index), value) for index, value in enumerate(arguments.positional)]
    complete = arguments.complete
    for value in (*arguments.positional, *(item for item in (arguments.star,) if item is not None)):
        listed = machine.thing(value)
        if isinstance(value, Tuple):
            items = [(str(index), item) for index, item in enumerate(value.items)]
            complete = value.rest is None
        elif listed is not None and listed.kind in {"list", "dict"}:
            found = {name: item for name, item in state.fields_of(listed.address).items() if name.startswith("[")}
            items = [(name[1:-1], item) for name, item in found.items()]
            complete = "[*]" not in found
    for name, value in items:
        if as_model(machine, value) is not None:
            state.fields[thing.address, f"[{name}]"] = value
        elif value != Const(None):
            complete = False
    if complete and items:
        thing.facts["container"] = True
        thing.contents = None
        from normadvisor.script.project.contents import NOTHING_HELD

        thing.facts["contents"] = NOTHING_HELD


def build_class(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """A model of a project class; ``None`` for classes that are none."""
    if cls.is_module is False or (cls.is_module is None and cls.method("forward") is None):
        return None
    ref = new_module(machine, state, place, name=cls.name, cls=cls, arguments=arguments)
    thing = machine.things[ref.address]
    thing.facts["fresh"] = True
    _hand_over(machine, state, thing, arguments)
    for owner, node in reversed(structure_of(machine.project, cls).constructors):
        _replay(machine, state, thing, owner, node.body)
    return ref


def _hand_over(machine: Machine, state: State, thing: Thing, arguments: Arguments) -> None:
    """Models among the arguments of a constructor become parts, under the attribute they are assigned to."""
    if thing.cls is None:
        return
    structure = structure_of(machine.project, thing.cls)
    for owner, node in structure.constructors[:1]:
        for name, value in bound_arguments(node, arguments).items():
            if not any((found := as_model(machine, member)) is not None and found.kind in MODEL_KINDS for member in members(value)):
                continue
            holders = [
                attribute
                for attribute, assigned in structure.assigned.items()
                for where, expression in assigned
                if where is owner and any(isinstance(item, ast.Name) and item.id == name for item in ast.walk(expression))
            ]
            for holder in holders:
                plain = any(isinstance(expression, ast.Name) for where, expression in structure.assigned[holder] if where is owner)
                state.fields[thing.address, holder if plain else f"({name})"] = value


def _replay(machine: Machine, state: State, thing: Thing, owner: ClassInfo, body: list[ast.stmt]) -> None:
    """What a constructor does to modes: ``self.eval()``, ``self.backbone.eval()``, ``self.freeze()``."""
    from normadvisor.script.library import modes

    for statement in body:
        if isinstance(statement, ast.If | ast.With | ast.Try | ast.For):
            if isinstance(statement, ast.With):
                _replay(machine, state, thing, owner, statement.body)
            elif any(isinstance(node, ast.Attribute) and node.attr in {"eval", "train"} for node in ast.walk(statement)):
                modes.doubt(machine, state, thing, _place(owner, statement))
            continue
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and isinstance(statement, ast.Expr | ast.Assign):
            _replay_call(machine, state, thing, owner, value, value.func)


def _replay_call(machine: Machine, state: State, thing: Thing, owner: ClassInfo, node: ast.Call, called: ast.Attribute) -> None:
    from normadvisor.script.library import modes, parts

    target = _self_path(called.value)
    if target is None:
        return
    place = _place(owner, node)
    part: Thing | None = thing
    if not target and thing.cls is not None and (found := thing.cls.method(called.attr)) is not None:
        if called.attr in {"train", "eval"} or _touches_modes(found[1]):
            method_value = parts.method_value(machine, state, thing, called.attr, place)
            if method_value is not None:
                machine.run(state, method_value, _constants(node), place)
        return
    if called.attr not in {"eval", "train", "requires_grad_", "load_state_dict"}:
        return
    for name in target:
        ref = parts.part_of(machine, state, part, name, place) if part is not None else None
        part = machine.things[ref.address] if ref is not None else None
    if part is None:
        return
    first = _constants(node).get(0, "mode", "requires_grad")
    if called.attr in {"eval", "train"}:
        on = called.attr == "train" and first != Const(False)
        modes.set_mode(machine, state, part, "train" if on else "eval", place)
    elif called.attr == "load_state_dict":
        state.marks[part.address, "loaded"] = place
    elif first == Const(False):
        state.marks[part.address, "frozen"] = place


def _touches_modes(node: ast.AST) -> bool:
    return any(
        (isinstance(item, ast.Attribute) and item.attr in {"eval", "train", "requires_grad", "requires_grad_", "load_state_dict"}) for item in ast.walk(node)
    )


def _constants(node: ast.Call) -> Arguments:
    return Arguments(
        tuple(Const(item.value) if isinstance(item, ast.Constant) else NOTHING for item in node.args),
        tuple((item.arg, Const(item.value.value) if isinstance(item.value, ast.Constant) else NOTHING) for item in node.keywords if item.arg),
    )


def _self_path(node: ast.expr) -> list[str] | None:
    """Attributes between ``self`` and the method; ``None`` if the call is not on a part of ``self``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return names if isinstance(node, ast.Name) and node.id == "self" else None


def _place(owner: ClassInfo, node: ast.AST) -> Place:
    return Place(owner.module.location(node), f"{owner.qualname}.__init__", text=owner.module.segment(node))


@extern("torch.load", "joblib.load", "pickle.load", "dill.load", "torch.hub.load_state_dict_from_url")
def load(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """A checkpoint: a whole model in the mode in which it was saved, or a dictionary that holds weights."""
    ref = machine.new(state, "opaque", place, name=name, extern=name)
    machine.things[ref.address].facts["checkpoint"] = True
    state.marks[ref.address, "loaded"] = place
    return ref


@extern("torch.jit.load", "torch.package.PackageImporter.load_pickle", "torch.export.load")
def load_program(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """An exported model: its mode is the one of the export."""
    ref = new_module(machine, state, place, name=name, mode=UNKNOWN_MODE, extern=name, arguments=arguments)
    state.marks[ref.address, "loaded"] = place
    return ref


@extern("torch.hub.load")
def load_from_hub(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A model built by the code of another repository; that of torchvision is known."""
    repository, entry = arguments.get(0, "repo_or_dir", "github"), arguments.get(1, "model")
    if isinstance(repository, Const) and isinstance(entry, Const) and str(repository.value).startswith("pytorch/vision"):
        rest = Arguments((), arguments.named, arguments.star, arguments.double_star)
        built = build_extern(machine, state, f"torchvision.models.{entry.value}", rest, place)
        if built is not None:
            return built
    ref = new_module(machine, state, place, name=name, mode=UNKNOWN_MODE, extern=name, arguments=arguments)
    state.marks[ref.address, "loaded"] = place
    return ref


@extern("copy.deepcopy", "copy.copy", "torch.clone", "copy.deepcopy.deepcopy")
def deepcopy(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """A copy: an object of its own, every part in the mode of the original's."""
    original = arguments.get(0, "x", "input")
    if original is None:
        return NOTHING
    thing = as_model(machine, original)
    if thing is None:
        listed = machine.thing(original)
        if listed is not None and listed.kind in {"list", "dict"}:
            ref = machine.new(state, listed.kind, place, name=listed.name, tag="copy")
            for field, value in state.fields_of(listed.address).items():
                state.fields[ref.address, field] = _copied(machine, state, value, place, f"copy {field}")
            return ref
        return original
    return _copied(machine, state, original, place, "copy")


def _copied(machine: Machine, state: State, value: Value, place: Place, tag: str, parent: tuple[int, str] | None = None, depth: int = 6) -> Value:
    from normadvisor.script.library import modes

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
        state.modes[ref.address] = modes.own_mode(machine, state, thing)
    for (address, mark), where in list(state.marks.items()):
        if address == thing.address:
            state.marks[ref.address, mark] = where
    copy.facts["parts"] = {
        name: part
        for name, original in thing.facts.get("parts", {}).items()
        if isinstance(part := _copied(machine, state, original, place, f"{tag} {name}", (ref.address, name), depth - 1), Ref)
    }
    for field, item in list(state.fields_of(thing.address).items()):
        state.fields[ref.address, field] = _copied(machine, state, item, place, f"{tag} {field}", None, depth - 1)
    return ref


@method("load_state_dict")
def load_state_dict(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """Weights are loaded into the model."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
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
