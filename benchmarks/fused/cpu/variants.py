"""The ways to run a model: each gets a model of its own and gives back what is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["ALONE", "OURS", "TOGETHER", "VARIANTS", "Call", "Variant"]

Call = Callable[[torch.Tensor], torch.Tensor]

OURS = "normadvisor"
_BUDGET = 120.0
"""Seconds for what it measures to decide: those of the command line."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How a model is made ready."""

    make: Callable[[nn.Module, torch.Tensor], Call]
    """Gets a model that it may change, and the images; what it gives back is called with images."""
    channels_last: bool | None = False
    """Whether images come in the memory format ``channels_last``; ``None``: where the convolutions of what was made are in it."""
    compiled: bool = False
    """Whether it needs a process of its own: compilers keep what they know of other copies of a model."""


def _fx_fuse(model: nn.Module, _images: torch.Tensor) -> Call:
    from torch.fx.experimental.optimization import fuse  # noqa: PLC0415 - torch's own, loaded where it is asked for

    fused: Call = fuse(model)
    return fused


def _channels_last(model: nn.Module, _images: torch.Tensor) -> Call:
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fx_fuse_channels_last(model: nn.Module, images: torch.Tensor) -> Call:
    fused: Any = _fx_fuse(model, images)
    return _channels_last(fused, images)


def _optimized(model: nn.Module, images: torch.Tensor) -> Call:
    import normadvisor  # noqa: PLC0415 - what is measured

    # Whether the machine is idle has been seen to; what was measured in an earlier run would hide what the search costs.
    found: Call = normadvisor.optimize(model, (images,), mode="inference", cache=False, allow_busy=True, budget=_BUDGET).model
    return found


def _compiled(model: nn.Module, _images: torch.Tensor) -> Call:
    made: Call = torch.compile(model)
    return made


def _frozen(model: nn.Module, _images: torch.Tensor) -> Call:
    # Through ``options=`` this setting does nothing; it has to stand while the first call compiles.
    import torch._inductor.config as settings  # noqa: PLC0415 - slow to load

    settings.freezing = True
    made: Call = torch.compile(model)
    return made


VARIANTS: dict[str, Variant] = {
    "fx fuse": Variant(_fx_fuse),
    "channels_last": Variant(_channels_last, channels_last=True),
    "fx fuse + channels_last": Variant(_fx_fuse_channels_last, channels_last=True),
    OURS: Variant(_optimized, channels_last=None),
    "compile": Variant(_compiled, compiled=True),
    "compile + freezing": Variant(_frozen, compiled=True),
}
"""By the name that the table gives them. Their model is one for itself each; eager is what all are compared with."""

TOGETHER = tuple(name for name, variant in VARIANTS.items() if not variant.compiled)
ALONE = tuple(name for name, variant in VARIANTS.items() if variant.compiled)
