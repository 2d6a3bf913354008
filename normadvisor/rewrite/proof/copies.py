"""Copies of models in double precision on the CPU."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.graph.values import tensors_in, to_device
from normadvisor.rewrite.proof.double import double
from normadvisor.rewrite.proof.state import fill_empty, named_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["double_copy", "has_lazy", "held"]


def double_copy(model: nn.Module) -> nn.Module:
    """A copy whose tensors all are on the CPU, floating ones in double precision; those without data get some.

    Tied parameters stay tied and shared modules shared. The model's own tensors are never copied where they are, so that a model on
    an accelerator takes no more memory there.

    Raises:
        Exception: whatever a part of the model that cannot be copied raises.

    """
    memo: dict[int, Any] = {}
    for key, tensor in held(model):
        if id(tensor) not in memo:
            memo[id(tensor)] = to_device(tensor, "cpu") if is_lazy(tensor) else _doubled(key, tensor)
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied


def _doubled(key: str, tensor: torch.Tensor) -> torch.Tensor:
    # What is carried over by key may differ from layer to layer; the rest must be the same in both models whatever it is called there.
    values = double(fill_empty(tensor, key if isinstance(tensor, nn.Parameter) else key.rpartition(".")[2]) if tensor.is_meta else tensor)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values.requires_grad_(tensor.requires_grad and tensor.is_leaf)


def held(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor that a module holds, with its name: parameters, buffers, attributes, and those in lists of attributes."""
    for name, module in named_modules(model):
        for holder in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001 -- the iterators skip plain attributes
            for key, value in holder.items():
                if not isinstance(value, nn.Module):
                    yield from ((f"{name}.{key}", tensor) for tensor in tensors_in(value))


def has_lazy(model: nn.Module) -> bool:
    """Whether a parameter or buffer waits for the first forward pass to get its shape."""
    return any(is_lazy(tensor) for _, tensor in held(model))
