"""Values that show mistakes which ordinary ones hide."""

from __future__ import annotations

import torch
from torch import nn

from normadvisor.rewrite.proof.state import named_modules

__all__ = ["hostile"]

_MEAN = 1000.0
_VARIANCE = 1e-12
_LEAST = 4
"""Channels from which on a layer has room for one of each kind."""


def hostile(model: nn.Module, seed: int) -> None:
    """Give single channels of every layer with running statistics, and of every norm with scales, values at the edge of what is allowed.

    One channel has a running mean of 1000, one a variance of 1e-12, one a scale of 0 and one a negative scale; which, is drawn. They
    are where a fold goes wrong that forgets ``eps``, divides by a scale, or takes an activation for linear.
    """
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    with torch.no_grad():
        for _, module in named_modules(model):
            scale, mean, variance = (_values(module, name) for name in ("weight", "running_mean", "running_var"))
            if id(module) in done or (variance is None and not _is_norm(module)):
                continue
            done.add(id(module))
            channels = next((len(each) for each in (variance, scale) if each is not None), 0)
            if channels < _LEAST:
                continue
            chosen = torch.randperm(channels, generator=generator)[:_LEAST].tolist()
            if mean is not None and len(mean) == channels:
                mean[chosen[0]] = _MEAN
            if variance is not None:
                variance[chosen[1]] = _VARIANCE
            if scale is not None and len(scale) == channels:
                scale[chosen[2]] = 0.0
                scale[chosen[3]] = -scale[chosen[3]].abs() - 0.5


def _values(module: nn.Module, name: str) -> torch.Tensor | None:
    """A vector that a module holds itself."""
    held = module._parameters.get(name)  # noqa: SLF001 -- attributes of parametrized modules are computed
    found = held if held is not None else module._buffers.get(name)  # noqa: SLF001
    return found if found is not None and found.dim() == 1 else None


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()
