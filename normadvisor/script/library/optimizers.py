"""Optimizers: what they hold, and their steps."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.library.accumulation import accumulation_at
from normadvisor.script.library.calls import add_model_places, model_attributes
from normadvisor.script.library.flow import mark_backward
from normadvisor.script.library.holding import Holding, covers_norms, decay_of, groups_in, holding_of
from normadvisor.script.library.models import ancestors, as_model, contents_of, root_of
from normadvisor.script.library.modes import mode_of
from normadvisor.script.library.registry import built, called, extern, method, prefix
from normadvisor.script.library.syntax import receiver_text, written_call
from normadvisor.script.values import NOTHING, Arguments, Data, Function, Partial, Place, Ref, Thing, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["new_optimizer", "step", "take_step"]

_OPTIMIZER_NAME = re.compile(r"(^|[._])(\w*_)?(opt|optim|optimi[sz]er|solver)(s|[GD])?((_|\d)\w*)?(\[[^\]]*\])*$", re.IGNORECASE)
_SCHEDULER_NAME = re.compile(r"sched|lr_|warmup|annealer", re.IGNORECASE)


def new_optimizer(machine: Machine, state: State, name: str, given: Value, arguments: Arguments, place: Place) -> Ref:
    """An optimizer for some parameters; noted as an event."""
    short = name.rpartition(".")[2]
    ref = machine.new(state, "optimizer", place, name=short, extern=name, arguments=arguments)
    holding = holding_of(machine, state, given)
    machine.things[ref.address].facts["holding"] = holding
    groups = groups_in(machine, state, given)
    whole = _one_root(machine, holding)
    norms = contents_of(machine, state, whole).norms if whole is not None else ()
    covers = covers_norms(groups, place)
    machine.record(
        "optimizer",
        place,
        optimizer=short,
        weight_decay=decay_of(short, arguments),
        grouped=bool(groups),
        covers_norm=covers if covers == "no" or (whole is not None and whole.address in holding.models) else "unknown",
        model=_written_model(place) or (text_of(machine, whole) if whole is not None else None),
        class_name=(whole.name or None) if whole is not None else None,
        norm_layers=[_shown(layer.name, layer.location) for layer in norms],
        function=place.function,
        _model=whole.address if whole is not None else None,
    )
    return ref


def _written_model(place: Place) -> str | None:
    """``self.model`` of ``Adam(self.model.parameters())``."""
    call = written_call(place)
    owners = {
        ast.unparse(node.func.value)
        for node in (ast.walk(call) if call is not None else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"parameters", "named_parameters"}
    }
    return owners.pop() if len(owners) == 1 else None


def text_of(machine: Machine, thing: Thing) -> str:
    """How the script names a model: as in its last call, else by attribute, class or factory."""
    for event in reversed(machine.events):
        if event.kind == "model_call" and event.attributes.get("_model") == thing.address:
            return str(event.attributes["model"])
    return str(thing.facts.get("label") or thing.name or "model")


def _shown(name: str, location: object) -> str:
    path, line = getattr(location, "path", None), getattr(location, "line", None)
    return f"{name} at {str(path).replace(chr(92), '/').rpartition('/')[2]}:{line}" if path is not None else name


def _one_root(machine: Machine, holding: Holding) -> Thing | None:
    """The one model whose parameters are held."""
    roots = {root_of(machine, machine.things[address]).address for address in holding.models if address in machine.things}
    return machine.things[next(iter(roots))] if len(roots) == 1 else None


@prefix("torch.optim.", "torch_optimizer.", "bitsandbytes.optim.", "apex.optimizers.", "transformers.optimization.", "timm.optim.",
        "deepspeed.ops.adam.", "lion_pytorch.", "torch.distributed.optim.", "pytorch_optimizer.", "adabelief_pytorch.", "madgrad.",
        "ranger.", "prodigyopt.", "dadaptation.", "sophia.", "adamp.")  # fmt: skip
def optimizer(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``torch.optim.SGD(model.parameters(), lr=0.1)`` and optimizers of other packages."""
    short = name.rpartition(".")[2]
    given = arguments.get(0, "params", "parameters", "lookahead_optimizer", "optimizer")
    if not short[:1].isupper() or given is None:
        return None
    inner = machine.thing(given)
    if inner is not None and inner.kind == "optimizer":
        return given
    return new_optimizer(machine, state, name, given, arguments, place)


@extern("transformers.AdamW", "transformers.Adafactor", "apex.fp16_utils.FP16_Optimizer", "transformers.optimization.AdamW")
def other_optimizer(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Optimizers outside a package of optimizers."""
    return optimizer(machine, state, name, arguments, place)


@extern("timm.optim.create_optimizer", "timm.optim.create_optimizer_v2", "timm.optim.optim_factory.create_optimizer",
        "timm.optim.optim_factory.create_optimizer_v2")  # fmt: skip
def created_optimizer(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """Factories of timm: norm layers and biases are not decayed."""
    given = arguments.get(0, "model_or_params") if name.endswith("_v2") else arguments.get(1, "model")
    ref = new_optimizer(machine, state, name, given or NOTHING, arguments, place)
    event = next((item for item in reversed(machine.events) if item.kind == "optimizer"), None)
    if event is not None:
        event.attributes.update(covers_norm="no", grouped=True)
    return ref


@prefix("torch.optim.lr_scheduler.", "timm.scheduler.", "transformers.get_", "diffusers.optimization.", "warmup_scheduler.")
def scheduler(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Learning rate schedules; their ``step`` is no optimizer step."""
    short = name.rpartition(".")[2]
    if name.startswith("transformers.") and "schedule" not in short:
        return None
    ref = machine.new(state, "scheduler", place, name=short, extern=name, arguments=arguments)
    return Tuple((ref, Data())) if short.startswith("create_scheduler") else ref


@extern("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler", "torch.amp.grad_scaler.GradScaler",
        "timm.utils.NativeScaler", "timm.utils.ApexScaler", "torch.cpu.amp.GradScaler",
        "torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler")  # fmt: skip
def scaler(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """Loss scalers for mixed precision."""
    return machine.new(state, "scaler", place, name=name.rpartition(".")[2], extern=name, arguments=arguments)


@called("scaler")
def scaled_step(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value:
    """The ``loss_scaler(loss, optimizer, ...)`` of timm: backward and step in one."""
    del ref
    mark_backward(machine, state, [arguments.get(0, "loss") or NOTHING], place)
    given = arguments.get(1, "optimizer")
    if given is not None:
        take_step(machine, state, given, place)
    return NOTHING


@built
def project_optimizer(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """An optimizer class of the project."""
    if not any(base in {"torch.optim.Optimizer", "torch.optim.optimizer.Optimizer"} or _torch_optimizer(base) for base in cls.externals):
        return None
    given = arguments.get(0, "params", "parameters", "optimizer", "base_optimizer") or NOTHING
    inner = machine.thing(given)
    if inner is not None and inner.kind == "optimizer":
        return given
    return new_optimizer(machine, state, cls.name, given, arguments, place)


def _torch_optimizer(name: str) -> bool:
    return name.startswith("torch.optim.") and not name.startswith(("torch.optim.lr_scheduler", "torch.optim.swa_utils"))


@method("add_param_group")
def add_group(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``optimizer.add_param_group({'params': ...})``."""
    del name, place
    thing = machine.thing(receiver)
    if thing is None or thing.kind != "optimizer":
        return None
    more = holding_of(machine, state, arguments.get(0, "param_group") or NOTHING)
    holding: Holding = thing.facts["holding"]
    holding.models |= more.models
    return NOTHING


@method("zero_grad", "param_groups", "state_dict", "unscale_", "update", "synchronize", "get_last_lr", "get_scale", "step_update")
def plain_method(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Methods of optimizers, schedules and scalers that change no mode."""
    del state, name, arguments, place
    thing = machine.thing(receiver)
    return NOTHING if thing is not None and thing.kind in {"optimizer", "scheduler", "scaler"} else None


@extern("torch_xla.core.xla_model.optimizer_step")
def step_function(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``xm.optimizer_step(optimizer)``."""
    del name
    take_step(machine, state, arguments.get(0, "optimizer") or NOTHING, place)
    return NOTHING


@method("step", "first_step", "second_step", "optimizer_step")
def step(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``optimizer.step()``, ``scaler.step(optimizer)``, ``engine.step()``."""
    thing = machine.thing(receiver)
    kind = thing.kind if thing is not None else ""
    if kind == "scheduler":
        return NOTHING
    result = _run_closure(machine, state, arguments, place)
    given = next((item for item in arguments.values() if _is_optimizer(machine, item)), None)
    if kind != "optimizer" and given is not None:
        take_step(machine, state, given, place)
    elif kind == "optimizer":
        take_step(machine, state, receiver, place)
    elif kind == "scaler" and arguments.positional:
        take_step(machine, state, arguments.positional[0], place)
    elif kind == "module" and thing is not None and name == "step" and _engine(thing, arguments):
        _record_steps(machine, state, {thing.address: "yes"}, place)
    elif kind in {"opaque", ""} and _named_optimizer(place, arguments):
        take_step(machine, state, receiver, place)
    else:
        return None
    return result


def _engine(thing: Thing, arguments: Arguments) -> bool:
    """Whether a model steps itself: DeepSpeed's engine."""
    return not arguments.positional and (thing.cls is None or thing.cls.method("step") is None)


def _is_optimizer(machine: Machine, value: Value) -> bool:
    return any((thing := machine.thing(item)) is not None and thing.kind == "optimizer" for item in members(value))


def _named_optimizer(place: Place, arguments: Arguments) -> bool:
    """Whether something unknown is called an optimizer, as in ``self.optimizer_G.step()`` and ``scaler.step(optimizer)``."""
    receiver = receiver_text(place)
    if _SCHEDULER_NAME.search(receiver):
        return False
    if _OPTIMIZER_NAME.search(receiver):
        return not arguments.positional or "closure" in place.text
    return receiver.rpartition(".")[2].lower().endswith("scaler") and bool(arguments.positional)


def _run_closure(machine: Machine, state: State, arguments: Arguments, place: Place) -> Value:
    closure = arguments.get(0, "closure")
    if isinstance(closure, (Function, Partial)):
        return machine.run(state, closure, Arguments(), place)
    return NOTHING


def take_step(machine: Machine, state: State, value: Value, place: Place) -> None:
    """Note a step of an optimizer for every model it holds, or, where that is unknown, for those whose gradients were just computed."""
    for member in members(value):
        thing = machine.thing(member)
        known = thing.facts.get("holding") if thing is not None and thing.kind == "optimizer" else None
        targets = _targets(machine, state, known if isinstance(known, Holding) else Holding(unknown=True))
        if targets:
            _record_steps(machine, state, targets, place, thing)


def _targets(machine: Machine, state: State, holding: Holding) -> dict[int, str]:
    if holding.models:
        return dict.fromkeys(_wholes(machine, holding.models), "yes")
    if holding.tensors and not holding.unknown:
        return {}
    taken = _held_elsewhere(machine)
    marked = [address for address, mark in state.marks if mark == "backward" and address in machine.things]
    return {
        address: "unknown"
        for address in marked
        if not any(whole.address in taken for whole in ancestors(machine, machine.things[address]))
    }


def _wholes(machine: Machine, held: set[int]) -> list[int]:
    """Held models; several parts of one model stand for the model."""
    roots: dict[int, list[int]] = {}
    for address in sorted(held):
        if address in machine.things:
            roots.setdefault(root_of(machine, machine.things[address]).address, []).append(address)
    return [parts[0] if len(parts) == 1 else root for root, parts in roots.items()]


def _held_elsewhere(machine: Machine) -> set[int]:
    found: set[int] = set()
    for thing in machine.things.values():
        if thing.kind == "optimizer" and isinstance(holding := thing.facts.get("holding"), Holding):
            found |= holding.models
    return found


def _record_steps(machine: Machine, state: State, targets: dict[int, str], place: Place, holder: Thing | None = None) -> None:
    accumulation, steps, default = accumulation_at(machine, place)
    for address, holds in targets.items():
        model = as_model(machine, Ref(address))
        if model is None:
            continue
        mode = mode_of(machine, state, model)
        event = machine.record(
            "optimizer_step",
            place,
            **model_attributes(machine, state, model, text_of(machine, model), place),
            holds_model=holds,
            deliberate=None,
            after_evaluation=mode.evaluated is not None and mode.both in {"eval", "mixed"},
            freeze_undone=mode.undone is not None,
            accumulation=accumulation,
            accumulation_steps=None if default else steps,
            batch_size=_batch_size(machine, address),
            _accumulation_default=steps if default else None,
        )
        add_model_places(machine, state, event, model)
        if holder is not None and holder.kind == "optimizer":
            event.places.setdefault("optimizer", (holder.place.location, "the optimizer is built here"))
        for part in _family(machine, state, model):
            state.marks.pop((part, "backward"), None)
        state.marks[(address, "trained")] = place


def _family(machine: Machine, state: State, model: Thing) -> list[int]:
    """Marked models that are this one, a part of it or its whole."""
    return [
        address
        for address, mark in list(state.marks)
        if mark == "backward"
        and address in machine.things
        and (model in ancestors(machine, machine.things[address]) or root_of(machine, model).address == address)
    ]


def _batch_size(machine: Machine, address: int) -> int | None:
    """Samples per forward pass in training."""
    for event in reversed(machine.events):
        if event.kind == "model_call" and event.attributes.get("_model") == address and event.attributes.get("_backward"):
            found = event.attributes.get("batch_size")
            return found if isinstance(found, int) else None
    return None
