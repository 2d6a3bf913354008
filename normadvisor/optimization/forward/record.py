"""What is kept of the one run in which every module was seen: arguments and results without their data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normadvisor.graph.values import tensors_in, to_meta
from normadvisor.optimization.forward.guards import is_plain

__all__ = ["Call", "Opaque", "without_data"]


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object that could not be copied, of which only the class is known."""

    cls: type


@dataclass(slots=True)
class Call:
    """One run of a module."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    device: torch.device
    """Of the first tensor among the arguments or the parameters."""
    grad: bool
    children: list[tuple[nn.Module, Any]] = field(default_factory=list)
    """The modules that its forward called, and what they gave back."""


def without_data(value: Any) -> Any:
    """A copy in which every tensor is on the meta device; tensors that are the same stay the same."""
    memo = {id(tensor): to_meta(tensor) for tensor in tensors_in(value)}
    return _copied(value, memo)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return memo.get(id(value)) if id(value) in memo else to_meta(value)
    if is_plain(value) or isinstance(value, (nn.Module, type)) or callable(value):
        return value
    if type(value) in {tuple, list}:
        return type(value)(_copied(item, memo) for item in value)
    if type(value) is dict:
        return {key: _copied(item, memo) for key, item in value.items()}
    try:
        return copy.deepcopy(value, dict(memo))
    except Exception:  # noqa: BLE001 -- any object may be handed over, and any of them may refuse to be copied
        return Opaque(type(value))
