"""Another value of one argument, on the layer as it is: what its constructor would have done differently is done now."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from normadvisor.graph.canonical import module_op
from normadvisor.rewrite.model.build import Like
from normadvisor.rewrite.model.change import Change, demand_initialized
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.types import GROUPS, JSONValue, Operation
from normadvisor.types.words import nearest

__all__ = ["set_argument"]

_INTERNAL = frozenset(vars(nn.Module()))
_ELSEWHERE = {"self", "device", "dtype"}


def set_argument(operation: Operation, change: Change) -> None:
    """Change one argument of a layer in place.

    Two layers of the class of ``torch.nn`` are built, with the old and with the new value, and what differs between them is carried over
    to the live one: attributes, parameters and buffers that come, go or change their shape. So the layer stays the same object, with its
    hooks, wherever it is shared, and whatever a derived class added.

    Raises:
        CannotChange: the class has no such argument, does not take the value, or what it is built with cannot be told.

    """
    if _holds_what_a_call_takes(operation, change):
        _leave_out(operation.part.module, operation.argument, change)
        return
    name, layer = operation.part.module, change.layer(operation.part)
    demand_initialized(name, layer)
    known = module_op(type(layer))
    if known is None:
        _set_plain(name, layer, operation.argument, operation.value, change)
        return
    value = tuple(operation.value) if isinstance(operation.value, list) else operation.value
    given = _built_with(name, layer, known[1], operation.argument)
    like = change.like(layer)
    old, new = _template(known[1], given, torch.device("meta")), _template(known[1], {**given, operation.argument: value}, like.device)
    _attributes(layer, old, new, change)
    _tensors(name, layer, old, new, like, change)


def _holds_what_a_call_takes(operation: Operation, change: Change) -> bool:
    """Whether a class of one's own hands a parameter to a function that its ``forward`` calls: ``F.conv2d(x, self.weight, self.bias)``."""
    part = operation.part
    if part.is_layer or operation.value is not False or part.op not in GROUPS["linear_map"] or part.module not in change.layers:
        return False
    layer = change.named(part.module)
    return module_op(type(layer)) is None and layer._parameters.get(operation.argument) is not None  # noqa: SLF001


def _leave_out(name: str, key: str, change: Change) -> None:
    """Let a layer have no such parameter, as ``register_parameter(key, None)`` does."""
    layer = change.named(name)
    demand_initialized(name, layer)
    live = vars(layer)["_parameters"]
    change.kept.append(live[key])
    change.journal.set_item(live, key, None)


def _set_plain(name: str, layer: nn.Module, argument: str, value: JSONValue, change: Change) -> None:
    """An attribute of a class that is none of torch's: it is taken to be read anew at every call."""
    if argument not in vars(layer) or argument in _INTERNAL or isinstance(vars(layer)[argument], list | tuple | dict | torch.Tensor):
        known = [key for key in vars(layer) if key not in _INTERNAL]
        hint = nearest(argument, known)
        raise CannotChange(f"{name} ({type(layer).__name__}) has no attribute {argument} that could be set", hint=hint)
    change.journal.set_item(vars(layer), argument, value)


def _built_with(name: str, layer: nn.Module, cls: type[nn.Module], argument: str) -> dict[str, Any]:
    """What the layer was built with, as its attributes tell."""
    parameters = inspect.signature(cls).parameters
    if argument not in parameters:
        raise CannotChange(f"torch.nn.{cls.__name__} has no argument {argument}", hint=nearest(argument, parameters))
    given: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if key in _ELSEWHERE or parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if key == "bias" and not getattr(layer, "affine", getattr(layer, "elementwise_affine", True)):
            continue  # Without scale and shift it is not known what their own argument was.
        if key == "bias":
            given[key] = getattr(layer, key, None) is not None and getattr(layer, key) is not False
        elif hasattr(layer, key) and not isinstance(getattr(layer, key), torch.Tensor | nn.Module):
            given[key] = getattr(layer, key)
        elif parameter.default is parameter.empty:
            raise CannotChange(f"what {name} was built with is not known: {key} is no attribute of it")
    return given


def _template(cls: type[nn.Module], given: dict[str, Any], device: torch.device) -> nn.Module:
    try:
        with device:
            return cls(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        told = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise CannotChange(f"torch.nn.{cls.__name__}({told}) cannot be built: {error}") from error


def _attributes(layer: nn.Module, old: nn.Module, new: nn.Module, change: Change) -> None:
    missing = object()
    for key, value in vars(new).items():
        if key not in _INTERNAL and vars(old).get(key, missing) != value:
            change.journal.set_item(vars(layer), key, value)


def _tensors(name: str, layer: nn.Module, old: nn.Module, new: nn.Module, like: Like, change: Change) -> None:
    """Parameters and buffers that come, go or change their shape."""
    for kind in ("_parameters", "_buffers"):
        before, after, live = vars(old)[kind], vars(new)[kind], vars(layer)[kind]
        for key in dict.fromkeys([*before, *after]):
            was, becomes = before.get(key), after.get(key)
            if _shape(was) == _shape(becomes):
                continue
            if key not in live or _shape(live[key]) not in {_shape(was), _shape(becomes)}:
                raise CannotChange(f"{name}.{key} is not what torch.nn.{type(old).__name__} makes of it: parametrized, or changed by hand")
            if _shape(live[key]) == _shape(becomes):
                continue
            _put(layer, kind, key, becomes, like, change)
    inside = [(key, tuple(value.shape)) for key, value in old.named_parameters() if "." in key]
    if inside != [(key, tuple(value.shape)) for key, value in new.named_parameters() if "." in key]:
        raise CannotChange(f"the argument changes layers inside {name}")


def _put(layer: nn.Module, kind: str, key: str, value: torch.Tensor | None, like: Like, change: Change) -> None:
    live = vars(layer)[kind]
    if value is not None:
        dtype = like.dtype if value.is_floating_point() else value.dtype
        moved = value.detach().to(like.device, dtype)
        value = nn.Parameter(moved, requires_grad=like.trainable) if kind == "_parameters" else moved
        change.kept.append(value)
        change.near[id(value)] = change.neighbours(layer)
        if isinstance(value, nn.Parameter) and isinstance(live[key], nn.Parameter):
            change.instead[id(value)] = live[key]
    change.kept.append(live[key])
    change.journal.set_item(live, key, value)


def _shape(value: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value.shape)
