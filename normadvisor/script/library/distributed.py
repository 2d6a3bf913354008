"""Wrapping models for several devices, and BatchNorm statistics shared among these."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.library.calls import add_model_places, model_attributes
from normadvisor.script.library.flow import integer
from normadvisor.script.library.models import ancestors, as_model, children
from normadvisor.script.library.syntax import argument, enclosing_statements, module_of, written_call
from normadvisor.script.values import Arguments, Const, Place, Ref, Thing, Tuple

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["record_conversion", "record_wrap"]

_SYNCHRONIZED = "synchronized"
_WRAPPED = "wrapped"
_CPU_BACKENDS = frozenset({"gloo", "mpi"})
_CUDA_BACKENDS = frozenset({"nccl", "cuda:nccl", "cpu:gloo,cuda:nccl"})


def record_wrap(machine: Machine, state: State, wrapper: str, ref: Ref, arguments: Arguments, place: Place) -> Event | None:
    """Note that a model is wrapped: ``DistributedDataParallel(model, device_ids=[rank])``."""
    thing = as_model(machine, ref)
    if thing is None:
        return None
    event = machine.record(
        "distributed_wrap",
        place,
        **model_attributes(machine, state, thing, _text(place, thing), place),
        wrapper=wrapper.rpartition(".")[2],
        synchronized=_is_synchronized(machine, state, thing),
        converted_after=False,
        batch_size=None,
        device=_device(machine, arguments, place),
    )
    event.attributes["batch_size"] = _batch_size(machine, place)
    add_model_places(machine, state, event, thing)
    state.marks[(thing.address, _WRAPPED)] = place
    return event


def record_conversion(machine: Machine, state: State, ref: Ref, place: Place) -> None:
    """Note that BatchNorm layers are converted: ``SyncBatchNorm.convert_sync_batchnorm(model)``."""
    thing = as_model(machine, ref)
    if thing is None:
        return
    state.marks[(thing.address, _SYNCHRONIZED)] = place
    wrapped = state.marks.get((thing.address, _WRAPPED))
    if wrapped is None:
        return
    for event in machine.events:
        same = event.kind == "distributed_wrap" and event.attributes.get("_model") == thing.address
        if same and event.location == wrapped.location and not event.attributes["synchronized"]:
            event.attributes["converted_after"] = True
            event.places.setdefault("switch", (place.location, "BatchNorm is converted here, after the wrap"))


def _text(place: Place, thing: Thing) -> str:
    given = argument(written_call(place), 0, "module")
    return ast.unparse(given) if given is not None else str(thing.facts.get("label") or thing.name or "model")


def _is_synchronized(machine: Machine, state: State, thing: Thing) -> bool:
    """Whether a model, its whole or all the parts that the analysis has met were converted."""
    if any((whole.address, _SYNCHRONIZED) in state.marks for whole in ancestors(machine, thing)):
        return True
    parts = children(machine, state, thing).values()
    return any((part.address, _SYNCHRONIZED) in state.marks for part in parts)


def _device(machine: Machine, arguments: Arguments, place: Place) -> str:
    """``cpu``, ``cuda`` or ``unknown``: from the devices given, else from the backend of the process group."""
    devices = arguments.get(1, "device_ids")
    if devices is not None and devices != Const(None):
        return "cuda" if not isinstance(devices, Tuple) or devices.items else "unknown"
    module = module_of(machine, place)
    if module is None:
        return "unknown"
    backends = {name for call in _calls(module, "init_process_group") if (name := _backend(call)) is not None}
    if backends and backends <= _CPU_BACKENDS:
        return "cpu" if not _mentions_cuda(module) else "unknown"
    return "cuda" if backends & _CUDA_BACKENDS else "unknown"


def _backend(call: ast.Call) -> str | None:
    given = argument(call, 0, "backend")
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _mentions_cuda(module: SourceModule) -> bool:
    return "cuda" in module.text


def _calls(module: SourceModule, name: str) -> list[ast.Call]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func
            tail = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            if tail == name:
                found.append(node)
    return found


def _batch_size(machine: Machine, place: Place) -> int | None:
    """Samples per process: of the loaders with a distributed sampler or, failing these, of the one loader of the same function."""
    sizes = set()
    for thing in machine.things.values():
        if thing.kind != "loader" or thing.place.location.path != place.location.path or thing.arguments is None:
            continue
        sampler = thing.arguments.get(3, "sampler")
        if sampler is not None and sampler != Const(None):
            sizes.add(integer(thing.arguments.get(1, "batch_size")))
    if not sizes:
        sizes = _written_sizes(machine, place)
    if len(sizes) != 1:
        return None
    size, default = sizes.pop()
    return None if default else size


def _written_sizes(machine: Machine, place: Place) -> set[tuple[int | None, bool]]:
    """Literal batch sizes of loaders with a sampler that the same function builds later."""
    module = module_of(machine, place)
    if module is None:
        return set()
    around = enclosing_statements(module, place.location)
    scope: ast.AST = next((item for item in reversed(around) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)), module.tree)
    found: set[tuple[int | None, bool]] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "DataLoader":
            sampler, size = argument(node, 3, "sampler"), argument(node, 1, "batch_size")
            if sampler is None or (isinstance(sampler, ast.Constant) and sampler.value is None):
                continue
            literal = _literal(size, module)
            found.add((literal, False))
    return found


def _literal(node: ast.expr | None, module: SourceModule) -> int | None:
    if isinstance(node, ast.Name):
        assigned = module.definitions.get(node.id)
        node = assigned.value if isinstance(assigned, ast.Assign) else None
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None
