"""The operations of one place alone, as they are and fused, to be measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from normadvisor.fused.batch_norm.functional import run_batch_norm
from normadvisor.fused.common.activations import activation
from normadvisor.fused.convolution.functional import run_conv
from normadvisor.fused.group_norm.layer import run_group_norm
from normadvisor.optimization.candidate import Kernel, Setting
from normadvisor.optimization.fusing.activations import Activation
from normadvisor.optimization.fusing.layouts import Layout

__all__ = ["Chain", "chain_kernel", "plain_layer"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A norm or a convolution, what is added to what it gives, and an activation."""

    layer: nn.Module
    """A copy of it is run."""
    activation: Activation
    layout: Layout
    """Of what the layer gets."""
    residual: Layout | None = None
    """Of what is added."""
    inplace: bool = False
    """Whether the activation writes over what it gets."""


def chain_kernel(chain: Chain, setting: Setting) -> Kernel:
    """The operations of a chain, one after the other and in one."""
    own: Any
    own, act, slope = plain_layer(copy.deepcopy(chain.layer)), chain.activation.name, chain.activation.slope
    wide: Any = copy.deepcopy(own).double()
    arguments = tuple(each.draw(setting.device, seed) for seed, each in enumerate((chain.layout, chain.residual)) if each is not None)

    def unfused(layer: Any, x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        y: torch.Tensor = layer(x)
        if added is not None:
            y += added
        return activation(act, y, slope, inplace=chain.inplace)

    def after(x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        if isinstance(own, nn.GroupNorm):
            return run_group_norm(own, x, act, slope)
        run = run_conv if isinstance(own, _ConvNd) else run_batch_norm
        return run(own, x, added, act, slope)

    return Kernel(
        before=partial(unfused, own), after=after, arguments=arguments, parameters=tuple(own.parameters()), exact=partial(unfused, wide)
    )


def plain_layer(norm: nn.Module) -> nn.Module:
    """The layer of ``torch.nn`` with the same parameters and buffers, without what a derived class does beside."""
    cls: Any = next(base for base in type(norm).__mro__ if base.__module__.startswith("torch.nn.modules."))
    if type(norm) is cls:
        return norm
    made: nn.Module = cls.__new__(cls)
    nn.Module.__init__(made)
    vars(made).update({name: value for name, value in vars(norm).items() if name != "_modules" and not name.endswith("hooks")})
    return made
