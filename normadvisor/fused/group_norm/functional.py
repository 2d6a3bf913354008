"""GroupNorm + activation as a function, on the fused kernels where they can run and with torch's own operations elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from normadvisor.fused.common.activations import ACTIVATIONS, DEFAULT_SLOPE, check_activation
from normadvisor.fused.common.in_torch import add_and_activate
from normadvisor.fused.common.triton_support import INTERPRETED, why_not_triton

__all__ = ["group_norm_act", "group_norm_supported"]

_MOST_POSITIONS = 2**31 - 2**16
"""Positions inside a sample are counted in 32 bits."""


def group_norm_supported(input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> str:  # noqa: A002 (as torch)
    """Say why :func:`group_norm_act` uses torch's own operations for these tensors; empty if it uses the fused kernels."""
    reason = why_not_triton(input, weight, bias)
    if reason:
        return reason
    if input.dim() < 2:
        return "the input has no channels"
    if input.numel() == 0:
        return "the input is empty"
    if input.numel() // (input.shape[0] * input.shape[1]) >= _MOST_POSITIONS:
        return f"a sample has {_MOST_POSITIONS} positions or more"
    return ""


def group_norm_act(
    input: Tensor,  # noqa: A002 (as torch)
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    act: str = "none",
    negative_slope: float = DEFAULT_SLOPE,
) -> Tensor:
    """Group normalization followed by an activation.

    Computes in float32 (float64 for float64) from input to output: what is between norm and activation is not rounded. Under autocast the
    output is float32, as torch's group_norm gives it, but the input is not converted beforehand. With as many groups as channels it is
    instance normalization without running statistics.

    Args:
        input: (N, C, *spatial), channels first or channels last; the output has the same memory format.
        num_groups: divides C.
        weight: (C) or none.
        bias: (C) or none.
        eps: added to the variance.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.

    Raises:
        ValueError: there is no such activation, or a group has one element.
        RuntimeError: shapes do not fit together.

    """
    if act not in ACTIVATIONS:
        check_activation(act)
    if (
        not (input.is_cuda or INTERPRETED)
        or group_norm_supported(input, weight, bias)
        or not _fits(input, num_groups, weight, bias)
    ):
        return add_and_activate(F.group_norm(input, num_groups, weight, bias, eps), None, act, negative_slope)
    # Imported late: it registers operations, and most who import this package have no GPU.
    from normadvisor.fused.group_norm.ops import run  # noqa: PLC0415

    widened = input.device.type == "cuda" and torch.is_autocast_enabled("cuda") and input.dtype != torch.float64
    return run(input, num_groups, weight, bias, eps, act, negative_slope, torch.float32 if widened else None)


def _fits(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether shapes are right; for others torch's own operation raises, in its words."""
    channels = x.shape[1]
    if groups < 1 or channels % groups or x.numel() == groups:
        return False
    return all(tensor is None or tensor.shape == (channels,) for tensor in (weight, bias))
