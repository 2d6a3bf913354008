"""Tensors inside nested values, and a model whose tensors are exchanged while it is traced."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

__all__ = ["map_tensors", "parameter_names", "swapped", "tensors_in", "to_device", "to_meta"]

_PLAIN = (int, float, str, bool, type(None), torch.dtype, torch.device)


def tensors_in(value: Any, depth: int = 8) -> Iterator[torch.Tensor]:
    """Tensors inside lists, tuples, mappings, sets of fields (dataclasses) and slices, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, _PLAIN) or depth == 0:
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from tensors_in(item, depth - 1)
    elif isinstance(value, slice):
        yield from tensors_in((value.start, value.stop, value.step), depth - 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for spec in dataclasses.fields(value):
            yield from tensors_in(getattr(value, spec.name, None), depth - 1)
    elif type(getattr(value, "__dict__", None)) is dict and not isinstance(value, (nn.Module, type)) and not callable(value):
        # Plain holders such as torchvision's ImageList and NestedTensor, or a cache object.
        for item in vars(value).values():
            yield from tensors_in(item, depth - 1)


def map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """``value`` with every tensor in lists, tuples, dicts and slices replaced; other containers are kept as they are."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple):
        items = [map_tensors(item, change) for item in value]
        if hasattr(value, "_fields"):
            return type(value)(*items)
        return tuple(items) if type(value) is tuple or isinstance(value, torch.Size) else value
    if isinstance(value, list):
        return [map_tensors(item, change) for item in value]
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(map_tensors(part, change) for part in (value.start, value.stop, value.step)))
    return value


def to_device(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """A tensor of the same shape, dtype and kind (parameter or not) without data on ``device``; lazy ones stay lazy."""
    if is_lazy(tensor):
        kind: Any = UninitializedParameter if isinstance(tensor, UninitializedParameter) else UninitializedBuffer
        lazy: torch.Tensor = kind(device=device, dtype=tensor.dtype)
        return lazy
    made = torch.empty_like(tensor, device=device, requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made


def to_meta(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without its data."""
    return tensor if tensor.device.type == "meta" else to_device(tensor, "meta")


def parameter_names(model: nn.Module) -> dict[int, tuple[str, str]]:
    """``id`` of every parameter, buffer and plain tensor attribute -> (qualified name of the module that holds it, attribute)."""
    found: dict[int, tuple[str, str]] = {}
    for name, module in model.named_modules():
        for held in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001 -- the public iterators skip plain attributes
            for attribute, value in held.items():
                if isinstance(value, torch.Tensor):
                    found.setdefault(id(value), (name, attribute))
    return found


_LARGE = 10_000
"""Entries from which on a container is not looked after."""
_DICTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")


@contextmanager
def swapped(model: nn.Module, change: Callable[[torch.Tensor], torch.Tensor] | None) -> Iterator[None]:
    """Exchange every tensor of ``model`` by ``change(tensor)``; afterwards each module is what it was.

    Restores parameters, buffers, attributes, training flags, hooks and classes (a lazy module changes its class when it first
    runs), and entries of lists, dicts, sets and deques that are attributes, so that a traced forward pass leaves nothing behind. Tied
    parameters stay tied.
    """
    every = list(dict.fromkeys(model.modules()))
    # Of scripted modules Python sees no attributes: they keep their tensors, and only their modes are put back.
    modes = [(module, module.training) for module in every if isinstance(module, torch.jit.ScriptModule)]
    modules = [module for module in every if not isinstance(module, torch.jit.ScriptModule)]
    saved = [(module, type(module), dict(vars(module)), [_copy(module, key) for key in _DICTS]) for module in modules]
    contents = [(held, held.copy()) for module in modules for held in _containers(module)]
    memo: dict[int, torch.Tensor] = {}

    def once(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in memo:
            memo[id(tensor)] = change(tensor) if change is not None else tensor
        return memo[id(tensor)]

    try:
        if change is not None:
            for module in modules:
                _exchange(module, once)
        yield
    finally:
        for module, cls, attributes, dicts in saved:
            if type(module) is not cls:
                module.__class__ = cls
            vars(module).clear()
            vars(module).update(attributes)
            for key, entries in zip(_DICTS, dicts, strict=True):
                if entries is not None:
                    held = vars(module)[key]
                    held.clear()
                    held.update(entries)
        for module, mode in modes:
            module.training = mode
        for held, entries in contents:
            held.clear()
            (held.extend if isinstance(held, list | deque) else held.update)(entries)


def _containers(module: nn.Module) -> list[Any]:
    """Attributes that forward may fill: the module's own containers, up to a size from which on they are data rather than state."""
    kinds = (list, dict, set, deque, OrderedDict, defaultdict)
    return [value for key, value in vars(module).items() if key not in _DICTS and type(value) in kinds and len(value) < _LARGE]


def _copy(module: nn.Module, key: str) -> dict[str, Any] | None:
    held = vars(module).get(key)
    return dict(held) if held is not None else None


def _exchange(module: nn.Module, once: Callable[[torch.Tensor], torch.Tensor]) -> None:
    attributes = vars(module)
    holders: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, attributes)  # noqa: SLF001
    for held in holders:
        for name, value in held.items():
            if isinstance(value, torch.Tensor):
                held[name] = once(value)
    if isinstance(module, nn.RNNBase):
        # The flat list that the kernels read holds the parameters a second time.
        names = attributes.get("_flat_weights_names", ())
        attributes["_flat_weights"] = [getattr(module, name, None) for name in names]
