"""Tensors inside nested values: what models take and give."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

__all__ = ["float_tensors", "map_tensors", "moved", "named_tensors", "with_tensors"]

MAX_DEPTH = 12
"""How deep values may nest; what lies deeper is left alone."""


def map_tensors(value: Any, change: Callable[[Tensor], Any], depth: int = 0) -> Any:
    """The value with every tensor in it changed; containers are made anew, everything else stays the same object."""
    if isinstance(value, Tensor):
        return change(value)
    if depth > MAX_DEPTH or isinstance(value, str | bytes | type | PackedSequence):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change, depth + 1) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, change, depth + 1) for item in value)
    if isinstance(value, Mapping):
        return _mapping(value, {key: map_tensors(item, change, depth + 1) for key, item in value.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: map_tensors(getattr(value, f.name), change, depth + 1) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **changes)
    return value


def _mapping(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the same class where that takes a dictionary, else a dictionary."""
    if type(value) is dict:
        return items
    try:
        return type(value)(items)  # type: ignore[call-arg]
    except (TypeError, ValueError):
        return items


def named_tensors(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a value with its path, such as ``0.logits``; containers in their own order."""
    if isinstance(value, Tensor):
        yield name, value
        return
    if depth > MAX_DEPTH or isinstance(value, str | bytes | type):
        return
    dot = f"{name}." if name else ""
    if isinstance(value, PackedSequence):
        yield f"{dot}data", value.data
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from named_tensors(item, f"{dot}{key}", depth + 1)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key, item in zip(value._fields, value, strict=True):
            yield from named_tensors(item, f"{dot}{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from named_tensors(item, f"{dot}{index}", depth + 1)
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from named_tensors(getattr(value, f.name, None), f"{dot}{f.name}", depth + 1)


def float_tensors(value: Any) -> list[tuple[str, Tensor]]:
    """The tensors of real or complex numbers in a value that hold any, each tensor once."""
    found: list[tuple[str, Tensor]] = []
    seen: set[int] = set()
    for name, tensor in named_tensors(value):
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel() and id(tensor) not in seen:
            seen.add(id(tensor))
            found.append((name, tensor))
    return found


def moved(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """The value on a device, its real tensors in a dtype (``None``: as they are); objects that know ``.to`` are asked to move."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype) if dtype is not None and tensor.is_floating_point() else tensor.to(device)

    if isinstance(value, PackedSequence):
        packed: Any = value
        return packed.to(device)
    changed = map_tensors(value, move)
    if changed is value and callable(getattr(value, "to", None)) and not isinstance(value, torch.nn.Module):
        return value.to(device)
    return changed


def with_tensors(value: Any, depth: int = 0) -> Any:
    """The value with tensors in place of numpy arrays of numbers; the value itself where it holds none."""
    numpy = sys.modules.get("numpy")
    if numpy is None or depth > MAX_DEPTH:
        return value
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "biufc":
        tensor = torch.from_numpy(numpy.ascontiguousarray(value))
        return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
    items: dict[Any, Any]
    if isinstance(value, Mapping):
        items = {key: with_tensors(item, depth + 1) for key, item in value.items()}
        return _mapping(value, items) if any(items[key] is not item for key, item in value.items()) else value
    if isinstance(value, list | tuple) and not isinstance(value, PackedSequence):
        parts = [with_tensors(item, depth + 1) for item in value]
        if all(part is item for part, item in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
