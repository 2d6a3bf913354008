"""The operations of one place alone, as they are and fused, to be measured."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from normadvisor.fused.common.activations import activation as plain_activation
from normadvisor.optimization.candidate import Kernel, Setting
from normadvisor.optimization.fusing import calls
from normadvisor.optimization.fusing.activations import Activation
from normadvisor.optimization.fusing.layouts import Layout

__all__ = ["norm_kernel"]


def norm_kernel(norm: nn.Module, activation: Activation, layout: Layout, setting: Setting, residual: Layout | None = None) -> Kernel:
    """A norm, what is added to what it gives, and an activation.

    Args:
        norm: the layer; a copy of it is run.
        activation: behind it.
        layout: of what the norm gets.
        setting: where it runs.
        residual: layout of what is added.

    """
    own = plain_norm(copy.deepcopy(norm))
    is_batch_norm = not isinstance(own, nn.GroupNorm)
    arguments = tuple(each.draw(setting.device, seed) for seed, each in enumerate((layout, residual)) if each is not None)

    def before(x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        y = own(x)
        if added is not None:
            y += added
        return plain_activation(activation.name, y, activation.slope, inplace=True)

    def after(x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        if is_batch_norm:
            return calls.batch_norm(own, x, added, activation.name, activation.slope)
        return calls.group_norm(own, x, activation.name, activation.slope)

    return Kernel(before=before, after=after, arguments=arguments, parameters=tuple(own.parameters()))


def plain_norm(norm: nn.Module) -> nn.Module:
    """The norm of ``torch.nn`` with the same parameters and buffers, without what a derived class does beside."""
    cls: Any = next(base for base in type(norm).__mro__ if base.__module__.startswith("torch.nn.modules."))
    if type(norm) is cls:
        return norm
    made = cls.__new__(cls)
    nn.Module.__init__(made)
    vars(made).update({name: value for name, value in vars(norm).items() if name not in {"_modules"} and not name.endswith("hooks")})
    return made
