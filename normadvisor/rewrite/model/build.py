"""Layers built by name, like the one whose place they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["Like", "build", "is_of_weight", "move_hooks", "named"]

_HOMES = ("torch.nn.", "torchvision.ops.", "timm.layers.", "normadvisor.")
"""Where layers may come from: a rule file is data and must not have code of its choice imported."""

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Like:
    """What a new layer takes over from the one beside it."""

    device: torch.device
    dtype: torch.dtype
    training: bool
    trainable: bool

    @classmethod
    def of(cls, layer: nn.Module, parameters: list[nn.Parameter]) -> Like:
        """Device and type of the layer's own numbers; of the nearest ``parameters`` where it has none."""
        held = [value for value in (*layer.parameters(), *layer.buffers(), *parameters) if value.is_floating_point()]
        device = held[0].device if held else torch.device("cpu")
        own = list(layer.parameters()) or parameters
        trainable = not own or any(parameter.requires_grad for parameter in own)
        return cls(device, held[0].dtype if held else torch.get_default_dtype(), layer.training, trainable)

    def adapt(self, layer: nn.Module) -> nn.Module:
        """Put a new layer on the device, in the type and in the mode."""
        layer.to(device=self.device, dtype=self.dtype)
        layer.requires_grad_(self.trainable)
        return layer.train(self.training)


def named(dotted: str) -> Any:
    """The class or function of a dotted name.

    Raises:
        CannotChange: it is not there, or not where layers come from.

    """
    if not dotted.startswith(_HOMES):
        raise CannotChange(f"{dotted} is not built: layers come from {', '.join(home.rstrip('.') for home in _HOMES)}")
    home, _, name = dotted.rpartition(".")
    try:
        return getattr(import_module(home), name)
    except (ImportError, AttributeError) as error:
        raise CannotChange(f"there is no {dotted} here: {error}") from error


def build(dotted: str, arguments: Mapping[str, Any], like: Like) -> nn.Module:
    """A layer of the named class; what it draws at random comes from torch's generator, as always.

    Raises:
        CannotChange: there is no such class, or it does not take the arguments.

    """
    cls = named(dotted)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise CannotChange(f"{dotted} is no layer")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    try:
        with like.device:
            layer = cls(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        told = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise CannotChange(f"{dotted}({told}) cannot be built: {error}") from error
    return like.adapt(layer)


def move_hooks(old: nn.Module, new: nn.Module) -> None:
    """Let the hooks that run around ``old`` run around ``new``; handles that were given out go on to remove them.

    Hooks of ``state_dict`` and of loading belong to the old layer's own keys and stay with it, as do those of ``torch.nn.utils``, which
    compute the old layer's weight.
    """
    for name in _HOOKS:
        hooks = vars(old).get(name)
        if hooks and not any(is_of_weight(hook) for hook in hooks.values() if name == "_forward_pre_hooks"):
            vars(new)[name] = hooks
    vars(new)["_is_full_backward_hook"] = vars(old).get("_is_full_backward_hook")


def is_of_weight(hook: object) -> bool:
    """Whether a hook belongs to ``torch.nn.utils.weight_norm``, ``spectral_norm`` or pruning."""
    return type(hook).__module__.startswith("torch.nn.utils.")
