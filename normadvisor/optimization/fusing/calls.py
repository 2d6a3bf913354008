"""What rewritten forwards call: fused operations on layers that stay in the model as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor import fused

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["batch_norm", "gated", "group_norm", "packed_gated"]


def batch_norm(norm: nn.Module, x: torch.Tensor, residual: torch.Tensor | None, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x) + residual)`` for a batch norm, with its running statistics kept up as its own ``forward`` would.

    Args:
        norm: a ``BatchNorm`` of ``torch.nn``, or one derived from it.
        x: its input.
        residual: of the same shape; ``None`` for nothing.
        act: name of the activation, of :data:`normadvisor.fused.ACTIVATIONS`.
        slope: of ``leaky_relu``.

    """
    found: torch.Tensor = fused.run_batch_norm(norm, x, residual, act, slope)
    return found


def group_norm(norm: nn.GroupNorm, x: torch.Tensor, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x))`` for a ``GroupNorm``; arguments as for :func:`batch_norm`."""
    found: torch.Tensor = fused.run_group_norm(norm, x, act, slope)
    return found


def gated(act: str, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """``act(gate) * up``.

    Args:
        act: ``silu``, ``gelu`` or ``gelu_tanh``.
        gate: of any shape.
        up: of the same shape.

    """
    found: torch.Tensor = fused.swiglu(gate, up) if act == "silu" else fused.geglu(gate, up, approximate=_APPROXIMATE[act])
    return found


def packed_gated(act: str, x: torch.Tensor, gate_last: bool) -> torch.Tensor:  # noqa: FBT001 -- written into forwards by position
    """``act(gate) * up`` of both halves of the last axis of ``x``; the gate is the second of them if ``gate_last``."""
    found: torch.Tensor
    if act == "silu":
        found = fused.swiglu_packed(x, dim=-1, gate_last=gate_last)
    else:
        found = fused.geglu_packed(x, dim=-1, gate_last=gate_last, approximate=_APPROXIMATE[act])
    return found


_APPROXIMATE = {"gelu": "none", "gelu_tanh": "tanh"}
