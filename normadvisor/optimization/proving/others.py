"""Calls of another kind than the one at hand: other map sizes, and flags of ``forward`` the other way round."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.graph.values import map_tensors, tensors_in

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Other", "flags", "left_out", "sizes"]

_LEAST = 5
"""Width of a map below which it is not made smaller."""
_MOST_FLAGS = 4
_SEQUENCE = 3
"""Axes of a batch of sequences, of which the last alone is changed; of maps the last two are."""


@dataclass(frozen=True, slots=True)
class Other:
    """One other way to call the model."""

    told: str
    """``with maps of 97x97``, ``with features=True``."""
    size: Callable[[int], int] | None = None
    """What becomes of the height and width of maps."""
    flags: Mapping[str, bool] = field(default_factory=dict)

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any], seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of that call, normally distributed where they are new."""
        generator = torch.Generator().manual_seed(seed)

        def drawn(tensor: torch.Tensor) -> torch.Tensor:
            if self.size is None or tensor.dim() < _SEQUENCE or not tensor.is_floating_point():
                return tensor
            kept = tensor.dim() - (1 if tensor.dim() == _SEQUENCE else 2)
            wanted = [*tensor.shape[:kept], *map(self.size, tensor.shape[kept:])]
            return torch.randn(wanted, generator=generator, dtype=tensor.dtype)

        found, named = map_tensors((args, kwargs), drawn)
        return found, {**named, **self.flags}


def sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Other, ...]]:
    """Larger maps and smaller ones, of each the one to try first and the one to try where that fails."""
    wide = [tensor.shape[-1] for tensor in tensors_in((args, kwargs)) if tensor.dim() >= _SEQUENCE and tensor.is_floating_point()]
    if not wide:
        return
    ways: list[tuple[Callable[[int], int], ...]] = [(lambda size: size * 3 // 2 | 1, lambda size: size * 2)]
    if min(wide) >= _LEAST:
        ways.append((lambda size: size * 3 // 4 | 1, lambda size: size // 2))
    for way in ways:
        yield tuple(Other(f"with maps {size(max(wide))} wide", size) for size in way)


def _optional(model: nn.Module, inputs: Arguments) -> dict[str, Any]:
    """Arguments of ``forward`` that were not given, and their defaults."""
    try:
        signature = inspect.signature(model.forward)
        given = signature.bind(*inputs.args, **inputs.kwargs).arguments
    except (TypeError, ValueError):
        return {}
    free = {name: each.default for name, each in signature.parameters.items() if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}}
    return {name: default for name, default in free.items() if name not in given}


def flags(model: nn.Module, inputs: Arguments) -> list[Other]:
    """One call for each flag of ``forward`` that was left as it is by default."""
    free = [(name, value) for name, value in _optional(model, inputs).items() if type(value) is bool]
    return [Other(f"with {name}={not value}", flags={name: not value}) for name, value in free[:_MOST_FLAGS]]


def left_out(model: nn.Module, inputs: Arguments, compared: set[str]) -> list[str]:
    """Flags and optional values that were not given, without those that were compared all the same."""
    found = _optional(model, inputs)
    return [name for name, value in found.items() if (value is None or type(value) is bool) and name not in compared]
