"""Whether gradients are recorded: ``no_grad``, ``inference_mode``, ``set_grad_enabled``, as contexts, decorators and calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from normadvisor.script.library import modes
from normadvisor.script.library.models import own_mode
from normadvisor.script.library.names import canonical
from normadvisor.script.library.registry import extern
from normadvisor.script.state import Mode
from normadvisor.script.values import NOTHING, Arguments, Const, Context, Data, Extern, Place, Ref, Value, members

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["decorator", "enter", "leave"]

Grad = Literal["on", "off", "unknown"]
_SWITCHES: dict[str, Grad] = {"no_grad": "off", "inference_mode": "off", "enable_grad": "on", "unknown_grad": "unknown"}
_KINDS = {
    "staticmethod": "static",
    "classmethod": "class",
    "property": "property",
    "functools.cached_property": "property",
    "cached_property.cached_property": "property",
    "torch.jit.unused": "",
    "abc.abstractproperty": "property",
    "contextlib.contextmanager": "context_manager",
    "contextlib.asynccontextmanager": "context_manager",
}


@dataclass(slots=True)
class _Before:
    """What a context restores."""

    grad: Grad
    no_grad: Place | None
    mode: Mode | None = None


@extern("torch.no_grad")
def no_grad(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``torch.no_grad()``."""
    return _around(arguments, Context("no_grad", place))


@extern("torch.enable_grad")
def enable_grad(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``torch.enable_grad()``."""
    return _around(arguments, Context("enable_grad", place))


@extern("torch.inference_mode")
def inference_mode(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``torch.inference_mode(mode=True)``."""
    wanted = arguments.get(0, "mode")
    if wanted is None or wanted == Const(True):
        return Context("inference_mode", place)
    return Context("other" if wanted == Const(False) else "unknown_grad", place)


@extern("torch.set_grad_enabled", "torch._C._set_grad_enabled", "torch._C.set_grad_enabled")
def set_grad_enabled(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``torch.set_grad_enabled(mode)``: takes effect when it is called; as a context it restores what was before."""
    kind = _kind_of(arguments.get(0, "mode"))
    before = state.grad, state.no_grad
    _switch(state, _SWITCHES[kind], place)
    # The context remembers what was before the call; as a statement nobody asks for it.
    return Context(kind, place, Data(origins=frozenset({f"grad:{before[0]}"})))


def _around(arguments: Arguments, context: Context) -> Value:
    """The context, or the function that is decorated by ``torch.no_grad(function)``."""
    return context if not arguments.positional else arguments.positional[0]


def _kind_of(value: Value | None) -> str:
    found = {
        ("enable_grad" if member.value else "no_grad") if isinstance(member, Const) else "unknown_grad"
        for member in (members(value) if value is not None else (NOTHING,))
    }
    return found.pop() if len(found) == 1 else "unknown_grad"


def _switch(state: State, grad: Grad, place: Place | None) -> None:
    state.grad = grad
    state.no_grad = place if grad == "off" else None


@extern("torch.onnx.select_model_mode_for_export", "torch.onnx.utils.select_model_mode_for_export")
def mode_for_export(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A context in which the model is in the given mode."""
    del machine, state, name
    wanted = arguments.get(1, "mode")
    kind = "eval" if isinstance(wanted, Extern) and wanted.name.endswith("EVAL") else "other"
    return Context(kind, place, arguments.get(0, "model") or NOTHING)


@extern("torch.is_grad_enabled")
def is_grad_enabled(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """``torch.is_grad_enabled()``."""
    return {"on": Const(True), "off": Const(False)}.get(state.grad, NOTHING)


def enter(machine: Machine, state: State, manager: Context, place: Place) -> Any:
    """Enter a context; returns what leaving it restores."""
    before = _Before(state.grad, state.no_grad)
    if isinstance(manager.value, Data):
        for origin in manager.value.origins:
            if origin == "grad:on":
                before = _Before("on", None)
            elif origin == "grad:unknown":
                before = _Before("unknown", None)
            elif origin == "grad:off" and state.grad != "off":
                before = _Before("off", place)
    if manager.kind in _SWITCHES:
        _switch(state, _SWITCHES[manager.kind], manager.place or place)
    elif manager.kind in {"eval", "train"} and isinstance(manager.value, Ref):
        thing = machine.things.get(manager.value.address)
        if thing is not None:
            before.mode = own_mode(machine, state, thing)
            modes.set_mode(machine, state, thing, "eval" if manager.kind == "eval" else "train", manager.place or place)
    return before


def leave(machine: Machine, state: State, manager: Context, token: Any) -> None:  # noqa: ARG001 - as the protocol has it
    """Leave a context."""
    if not isinstance(token, _Before):
        return
    if manager.kind in _SWITCHES:
        state.grad, state.no_grad = token.grad, token.no_grad
    if token.mode is not None and isinstance(manager.value, Ref):
        state.modes[manager.value.address] = token.mode
        state.fields.pop((manager.value.address, "training"), None)


def decorator(machine: Machine, state: State, value: Value, place: Place) -> Context | str | None:  # noqa: ARG001 - as the protocol has it
    """What an external decorator does: a context around every call, or a kind of function."""
    if isinstance(value, Context):
        for origin in value.value.origins if isinstance(value.value, Data) else ():
            if origin.startswith("grad:"):  # set_grad_enabled took effect when it was called, which decorating takes back
                state.grad = {"grad:on": "on", "grad:off": "off"}.get(origin, "unknown")  # type: ignore[assignment]
        return value
    if not isinstance(value, Extern):
        return None
    name = canonical(value.name)
    if name in {"torch.no_grad", "torch.inference_mode", "torch.enable_grad"}:
        return Context(name.rpartition(".")[2], place)
    return _KINDS.get(name) or None
