"""What rewritten forwards call: fused operations on layers that stay in the model as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from normadvisor import fused

__all__ = ["batch_norm", "group_norm", "run_batch_norm"]


def batch_norm(norm: nn.Module, x: torch.Tensor, residual: torch.Tensor | None, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x) + residual)`` for a batch norm, with its running statistics kept up as its own ``forward`` would.

    Args:
        norm: a ``BatchNorm`` of ``torch.nn``, or one derived from it.
        x: its input.
        residual: of the same shape; ``None`` for nothing.
        act: name of the activation, of :data:`normadvisor.fused.ACTIVATIONS`.
        slope: of ``leaky_relu``.

    """
    return fused.run_batch_norm(norm, x, residual, act, slope)


def group_norm(norm: nn.Module, x: torch.Tensor, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x))`` for a ``GroupNorm``; arguments as for :func:`batch_norm`."""
    return fused.run_group_norm(norm, x, act, slope)
