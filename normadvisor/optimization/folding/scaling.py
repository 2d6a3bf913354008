"""What multiplies and moves each channel by numbers that do not depend on the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from normadvisor.optimization.folding.inline import Inline

__all__ = ["BATCH_STATISTICS", "ROLES", "Affine"]

ROLES = {"weight": "norm.weight", "bias": "norm.bias", "running_mean": "norm.mean", "running_var": "norm.var"}
"""What the arguments of a batch norm mean."""
BATCH_STATISTICS = "it keeps no running statistics and normalizes with those of the batch in eval mode, too"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """What computes ``x * scale + shift``, one pair for each channel: a module, or a call in a forward."""

    name: str
    """The module that is it, or the one that holds the numbers of the call."""
    what: str
    """``batch_norm``, or ``affine`` where there are no statistics."""
    roles: Mapping[str, str]
    """Keys of its parameters and buffers by what they mean: ``{"norm.weight": "bn1.weight", "norm.var": "bn1.running_var"}``."""
    eps: float
    channels: int
    axis: int
    rest: tuple[str, ...] = ()
    """Names of the layers inside of it that run on what it has normalized, in order."""
    inline: Inline | None = None
    """The call, where it is one."""

    @property
    def told(self) -> str:
        """What the reader calls it: the module, or the number that a call multiplies by or adds."""
        return next(iter(self.roles.values())) if self.inline is not None and len(self.roles) == 1 else self.name

    @property
    def shifts(self) -> bool:
        """Whether anything is added, whatever the numbers."""
        return "norm.bias" in self.roles or "norm.mean" in self.roles
