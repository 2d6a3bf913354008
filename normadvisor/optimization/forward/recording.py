"""Runs a model once, keeps what its modules were given and gave back, and traces the forward of each."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from normadvisor.graph.canonical import module_op
from normadvisor.graph.frames import Frames, is_user_file
from normadvisor.graph.light import without_compiler
from normadvisor.graph.values import swapped, tensors_in
from normadvisor.optimization.forward.local import LocalGraph, Untraced
from normadvisor.optimization.forward.patches import patched
from normadvisor.optimization.forward.record import Call, without_data
from normadvisor.optimization.forward.tracer import NotTraceable, Tracer
from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["local_graphs"]


def local_graphs(model: nn.Module, inputs: Arguments, refused: list[Untraced] | None = None) -> Iterator[LocalGraph]:
    """The forward of every module of ``model`` that has one of its own and runs, in the order in which they are named.

    The model is run once, in the modes in which its modules are, on tensors with data; then each forward is traced by itself, on tensors
    without. Modules of ``torch.nn`` that are one operation are left out; containers such as ``Sequential`` are not.

    Args:
        model: left as it was, buffers and random states included.
        inputs: arguments of its forward, where the model is.
        refused: modules whose forward cannot be traced are added here.

    Raises:
        Exception: whatever the forward of the model raises.

    """
    calls = _recorded(model, inputs)
    frames = Frames()
    for name, module in model.named_modules():
        call = calls.get(id(module))
        if call is None:
            continue
        found = _traced(name, call, frames)
        if isinstance(found, LocalGraph):
            yield found
        elif refused is not None:
            refused.append(found)


def _recorded(model: nn.Module, inputs: Arguments) -> dict[int, Call]:
    """The first run of every module that has a forward of its own."""
    calls: dict[int, Call] = {}
    running: list[tuple[nn.Module, Call | None]] = []
    device = next((tensor.device for tensor in (*model.parameters(), *tensors_in((inputs.args, inputs.kwargs)))), torch.device("cpu"))

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = None
        if id(module) not in calls and _has_own_forward(module):
            found = next((tensor.device for tensor in (*tensors_in((args, kwargs)), *module.parameters(recurse=False))), device)
            kept, named = without_data((args, kwargs))
            call = calls[id(module)] = Call(module, kept, named, found, torch.is_grad_enabled())
        running.append((module, call))

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        del args, kwargs
        while running and running.pop()[0] is not module:
            pass  # a module whose forward raised, which the one above it has caught
        if running and running[-1][1] is not None:
            running[-1][1].children.append((module, without_data(result)))

    handles = []
    try:
        with _as_it_was(model), torch.set_grad_enabled(model.training):
            for module in model.modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                    handles.append(module.register_forward_hook(after, with_kwargs=True))
            model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Buffers, attributes and random states as they were afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), swapped(model, lambda held: held if isinstance(held, nn.Parameter) else held.clone()):
        yield


def _has_own_forward(module: nn.Module) -> bool:
    """Whether a module runs code that is not torch's, or holds other modules."""
    cls = type(module)
    if isinstance(module, torch.jit.ScriptModule) or "forward" in vars(module):
        return False
    home = getattr(cls.forward, "__module__", None) or ""
    known = module_op(cls)
    if known is not None and cls.forward is known[1].forward:
        return False
    return not f"{home}.".startswith("torch.") or isinstance(module, nn.Sequential)


def _traced(name: str, call: Call, frames: Frames) -> LocalGraph | Untraced:
    module = call.module
    tracer = Tracer(call, frames)
    try:
        with torch.set_grad_enabled(call.grad), without_compiler(), patched(tracer):
            graph = tracer.trace()
    except NotTraceable as error:
        return Untraced(name, f"{_place(error)}{error}")
    except Exception as error:  # noqa: BLE001 -- code of the model on values that are none
        lines = str(error).strip().splitlines()
        return Untraced(name, f"{_place(error)}cannot be followed: {type(error).__name__}: {lines[0][:200] if lines else ''}".rstrip(": "))
    return LocalGraph(name, module, type(module), graph, tracer.guards, "train" if module.training else "eval")


def _place(error: BaseException) -> str:
    """The innermost line of the user's code that an error passed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_user_file(frame.filename):
            return f"{frame.filename}:{frame.lineno}: "
    return ""
