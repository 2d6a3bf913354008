"""A function or a layer around another layer: ``weight_norm(layer)``, ``Wrapper(layer)``."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.model.build import move_hooks, named
from normadvisor.rewrite.model.change import Change, demand_initialized
from normadvisor.rewrite.model.places import wrapped_in
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.types import Operation

__all__ = ["wrap_layer"]


def wrap_layer(operation: Operation, change: Change) -> None:
    """Put ``wrapper(layer, **arguments)`` in the place of the layer.

    A function such as ``torch.nn.utils.parametrizations.weight_norm`` changes the layer it is given, so it gets a copy, in which every
    parameter that it left as it was is the original object again; so the change can be undone and an optimizer goes on.

    Raises:
        CannotChange: the wrapper does not take the layer, or gives no layer back.

    """
    name, old = operation.part.module, change.layer(operation.part)
    demand_initialized(name, old)
    wrapper = named(operation.layer)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in operation.arguments.items()}
    if isinstance(wrapper, type) and issubclass(wrapper, nn.Module):
        like = change.like(old)
        new = _called(operation.layer, wrapper, old, given)
        change.joins(new, old)
        new.to(device=like.device)
        wrapped_in(name, old, new.train(old.training), change)
        return
    memo: dict[int, Any] = {}
    try:
        held = copy.deepcopy(old, memo)
    except (RuntimeError, TypeError) as error:
        raise CannotChange(f"{name} cannot be copied: {error}") from error
    hooks = set(held._forward_pre_hooks)  # noqa: SLF001
    new = _called(operation.layer, wrapper, held, given)
    _restore(old, new, memo)
    if new is held:
        added = {key: hook for key, hook in new._forward_pre_hooks.items() if key not in hooks}  # noqa: SLF001
        move_hooks(old, new)
        for key, hook in added.items():
            if key not in new._forward_pre_hooks:  # noqa: SLF001
                change.journal.set_item(new._forward_pre_hooks, key, hook)  # noqa: SLF001
    change.replace(name, old, new, hooks=False)
    change.kept.append(memo)


def _called(dotted: str, wrapper: Any, layer: nn.Module, given: dict[str, Any]) -> nn.Module:
    try:
        new = wrapper(layer, **given)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise CannotChange(f"{dotted} does not take the layer: {error}") from error
    if not isinstance(new, nn.Module):
        raise CannotChange(f"{dotted} gives no layer back")
    return new


def _restore(old: nn.Module, new: nn.Module, memo: dict[int, Any]) -> None:
    """Put the original parameters and buffers back where their copies stand with the same numbers."""
    originals = {id(memo[id(value)]): value for value in (*old.parameters(), *old.buffers()) if id(value) in memo}
    for module in new.modules():
        for held in (vars(module)["_parameters"], vars(module)["_buffers"]):
            for key, value in held.items():
                original = originals.get(id(value))
                if original is not None and original.shape == value.shape and (value.is_meta or torch.equal(original, value)):
                    held[key] = original
