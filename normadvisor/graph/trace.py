"""The entry: one model and one set of inputs in, one :class:`~normadvisor.graph.model.ModelGraph` out."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import fx, nn
from torch.nn.parameter import UninitializedParameter

from normadvisor.errors import TraceError
from normadvisor.graph.build import build_nodes
from normadvisor.graph.execution import Recorder, changed, record
from normadvisor.graph.facts import add_facts
from normadvisor.graph.frames import Frames
from normadvisor.graph.leaves import Leaves
from normadvisor.graph.levels import LEVELS, Level, is_input_error, is_too_small, materialised, reads_values
from normadvisor.graph.light import StandIn, without_compiler
from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.graph.modules import list_modules, unrun
from normadvisor.graph.symbolic import run_shapes, trace_symbolic
from normadvisor.graph.values import parameter_names, swapped, to_meta
from normadvisor.types import Site, TraceKind

__all__ = ["GivenInputs", "look_for_written", "trace"]

_MIB = 2**20


class GivenInputs(Protocol):
    """What :mod:`normadvisor.targets` hands over: arguments for ``forward``, and whether the user gave them."""

    @property
    def args(self) -> Sequence[Any]:
        """Positional arguments."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Arguments by name."""

    @property
    def given(self) -> bool:
        """Whether the user said them."""


@dataclass(slots=True)
class _Pass:
    """One recorded pass."""

    kind: TraceKind
    mode: str
    graph: fx.Graph
    nodes: list[NodeInfo]
    modules: dict[str, ModuleInfo]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Job:
    """A model, its inputs, and what all passes over them share."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sites: Mapping[str, Site]
    memory: int
    shapes: bool = True
    given: bool = True
    leaves: Leaves = field(default_factory=Leaves)
    frames: Frames = field(default_factory=Frames)

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs by the name of the argument of ``forward``."""
        try:
            bound = inspect.signature(self.model.forward).bind(*args, **kwargs)
        except (TypeError, ValueError):
            return {**{f"input_{index}": value for index, value in enumerate(args)}, **kwargs}
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            parameter = bound.signature.parameters[name]
            if parameter.kind is parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return named


def trace(
    model: nn.Module,
    inputs: GivenInputs | None,
    *,
    target: str,
    sites: Mapping[str, Site],
    defined_at: Site | None = None,
    tracer: TraceKind | None = None,
    memory: int = 256 * _MIB,
    mode: str | None = None,
) -> ModelGraph:
    """Follow one forward pass of ``model``: with proxies if that works, else by recording a run.

    Args:
        model: on any device, the meta device included; left exactly as it was found.
        inputs: arguments of ``forward``, tensors on any device; ``None`` for a graph without shapes (symbolic tracer only).
        target: what the user calls the model.
        sites: where each module, by qualified name, was constructed.
        defined_at: where the model itself is defined.
        tracer: use only this tracer.
        memory: bytes that parameters with real values may take when the model reads values; beyond it they are all alike.
        mode: ``train`` or ``eval``: follow the model in this mode only, and say nothing of layers that run in the other. Without it, train
            mode is followed if that is possible, and eval mode otherwise.

    Raises:
        TraceError: the inputs do not fit, or neither tracer could follow ``forward``.

    """
    _refuse_scripted(model)
    job = _Job(
        model,
        tuple(inputs.args) if inputs is not None else (),
        dict(inputs.kwargs) if inputs is not None else {},
        sites,
        memory,
        shapes=inputs is not None,
        given=inputs is None or inputs.given,
    )
    with _untouched():
        # Decided before any mode is entered: the recogniser runs modules on tensors of its own.
        for module in model.modules():
            job.leaves.of(module)
        found = _first_pass(job, tracer, ("train", "eval") if mode is None else (mode,))
        if mode is None and any(found.modules[name].referenced is not True for name in unrun(found.modules)):
            _other_mode(job, found, tracer)
        facts = add_facts(found.nodes)
    facts["parameters"] = sum(held.numel() for held in model.parameters() if not isinstance(held, UninitializedParameter))
    return ModelGraph(
        target=target,
        trace=found.kind,
        mode=found.mode,
        nodes=found.nodes,
        modules=found.modules,
        fx_graph=found.graph,
        site=defined_at,
        notes=tuple(found.notes),
        inputs_given=inputs is not None and inputs.given,
        facts=facts,
    )


def look_for_written(graph: ModelGraph, model: nn.Module) -> None:
    """Note on the nodes of a trace what they compute by hand, for the few rules that ask: it takes up to a quarter of the time of tracing.

    Nodes get the attributes that :func:`~normadvisor.graph.written.noted.note_written` names; a second call finds the same.

    Args:
        graph: of ``model``.
        model: in the mode in which it was traced; left as it was found.

    """
    if graph.fx_graph is None:
        return
    from normadvisor.graph.written.noted import note_written  # noqa: PLC0415 -- most runs never need the search

    with _untouched():
        try:
            note_written(graph.nodes, graph.fx_graph, model)
        except Exception as error:  # noqa: BLE001 -- runs parts of the user's code; no rule about mistakes needs what it finds
            graph.notes = (*graph.notes, f"what is written out by hand was not looked for: {_told(error)}")


def _refuse_scripted(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"the part {name} of the model" if name else getattr(model, "original_name", type(model).__name__)
            message = f"{what} is scripted, and compiled code cannot be followed"
            raise TraceError(message, hint="name the model before it goes to torch.jit.script or torch.jit.trace")


@contextmanager
def _untouched() -> Iterator[None]:
    """Random states and fast paths as they were, whatever the traced code does; :func:`swapped` sees to the modules."""
    state, plain = torch.get_rng_state(), random.getstate()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with without_compiler(), _not_compiled():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.set_rng_state(state)
        random.setstate(plain)


@contextmanager
def _not_compiled() -> Iterator[None]:
    """What was handed to ``torch.compile`` runs as it is written, so that it can be recorded."""
    if "torch._dynamo" not in sys.modules or isinstance(sys.modules["torch._dynamo"], StandIn) or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _set_mode(model: nn.Module, mode: str) -> None:
    """Put the model in a mode the way its training loop would; flags set by hand in a model that trains are kept."""
    own = any(type(module).train is not nn.Module.train for module in model.modules())
    if mode == "eval":
        model.eval()
    elif not model.training or own:
        model.train()


def _first_pass(job: _Job, tracer: TraceKind | None, modes: Sequence[str]) -> _Pass:
    failures: list[tuple[str, str, BaseException]] = []
    for mode in modes:
        found = _pass(job, mode, tracer, failures)
        if found is not None:
            if failures and failures[0][0] != mode:
                why = next(error for failed, _, error in failures if failed == "train")
                found.notes.append(f"only eval mode could be traced; train mode: {_told(why)}")
            return found
        if not job.given and failures and is_too_small(failures[-1][2]):
            break  # a larger guess may well run in train mode
    # The most telling error: not of proxies, and not of asking a tensor without data for values.
    ranked = sorted(failures, key=lambda failure: (failure[1] == "symbolic", reads_values(failure[2])))
    first = ranked[0][2] if ranked else None
    tried = "; ".join(dict.fromkeys(f"{mode} mode, {level}: {_told(error)}" for mode, level, error in failures))
    message = f"forward of {type(job.model).__name__} could not be followed: {tried}"
    raise TraceError(message) from first


def _told(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _pass(job: _Job, mode: str, tracer: TraceKind | None, failures: list[tuple[str, str, BaseException]]) -> _Pass | None:
    """One pass in ``mode`` by the first tracer and level that manages."""
    with swapped(job.model, None):
        _set_mode(job.model, mode)
        if tracer in {None, TraceKind.SYMBOLIC}:
            try:
                return _symbolic(job, mode)
            except Exception as error:  # noqa: BLE001 -- operations of the user's model on inputs that may not fit
                # The execution tracer meets the same error, if it is one, with the modules it happened in on the stack.
                if tracer is TraceKind.SYMBOLIC or not job.shapes:
                    failures.append((mode, "symbolic", error))
                    return None
        reads = False
        for level in LEVELS:
            if level.fake and reads:
                continue
            try:
                return _execution(job, mode, level)
            except Exception as error:  # noqa: BLE001 -- forward is the user's code: anything may be raised
                # The same words on another kind of tensor, or in the other mode, mean that the kind does not matter.
                settled = is_input_error(error) or any(_told(error) == _told(other) for _, kind, other in failures if kind != "symbolic")
                failures.append((mode, level.name, error))
                reads = reads or reads_values(error)
                if settled:
                    break
    return None


def _symbolic(job: _Job, mode: str) -> _Pass:
    with swapped(job.model, to_meta):
        names = parameter_names(job.model)
        graph, values = trace_symbolic(job.model, job.args, job.kwargs, job.leaves, job.frames, names, shapes=job.shapes)
        if job.shapes:
            run_shapes(graph, job.model, values)
        nodes = build_nodes(graph, job.model, mode=mode, symbolic=True)
        modules = list_modules(job.model, nodes, (), job.leaves, job.sites)
    return _Pass(TraceKind.SYMBOLIC, mode, graph, nodes, modules)


def _execution(job: _Job, mode: str, level: Level) -> _Pass:
    with ExitStack() as stack:
        context = stack.enter_context(level.context())
        stack.enter_context(materialised(job.model, level, context, job.memory))
        change: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: level.move(tensor, context)  # noqa: E731
        args, kwargs = changed((job.args, job.kwargs), change)
        recorder = Recorder(job.model, job.leaves, job.frames, parameter_names(job.model), real=level.real)
        graph = record(job.model, args, kwargs, recorder, job.named(args, kwargs))
        nodes = build_nodes(graph, job.model, mode=mode, symbolic=False)
        modules = list_modules(job.model, nodes, recorder.entered, job.leaves, job.sites)
    return _Pass(TraceKind.EXECUTION, mode, graph, nodes, modules)


def _other_mode(job: _Job, found: _Pass, tracer: TraceKind | None) -> None:
    """Look whether modules that did not run do so in the other mode."""
    mode = "eval" if found.mode == "train" else "train"
    other = _pass(job, mode, tracer, [])
    if other is None:
        found.notes.append(f"layers that only run in {mode} mode are unknown: that mode could not be traced")
        for name in unrun(found.modules):
            # Nothing is known of them, so nothing is claimed.
            found.modules[name].referenced = found.modules[name].referenced if found.modules[name].referenced is False else None
        return
    for name, module in found.modules.items():
        module.ran = module.ran or other.modules[name].ran
        module.owner_ran = module.owner_ran or other.modules[name].owner_ran
