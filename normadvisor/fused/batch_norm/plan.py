"""What is done to a batch, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normadvisor.fused.common.activations import DEFAULT_SLOPE

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Epilogue", "Statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epilogue:
    """What follows the statistics: ``act((x - mean) / sqrt(var + eps) * weight + bias + residual)``."""

    eps: float = 1e-5
    act: str = "none"
    """One of :data:`normadvisor.fused.ACTIVATIONS`."""
    slope: float = DEFAULT_SLOPE
    """Of leaky_relu on the negative side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Where mean and variance come from, and what is moved."""

    running_mean: Tensor | None
    running_var: Tensor | None
    training: bool
    """Whether they are those of the batch, else the running ones."""
    momentum: float | None = 0.1
    """How far running statistics move towards those of the batch; ``None``: they become the plain mean over all that were counted."""
    counter: Tensor | None = None
    """Counts batches, where it is there: one integer."""

    @property
    def batches(self) -> Tensor | None:
        """The counter, where it decides how far the running statistics move."""
        return self.counter if self.momentum is None else None

    @property
    def factor(self) -> float:
        """How far the running statistics move, as a number; reads the counter from the GPU if that decides it."""
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.counter is None else 1.0 / float(self.counter)
