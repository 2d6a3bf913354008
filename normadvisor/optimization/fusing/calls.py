"""What rewritten forwards call: fused operations, each of which is one call to whoever follows a model.

They ask for ``__torch_function__`` as torch's own functions do, so that a tracer sees the call itself. One that looked inside would find
torch's operations where it follows on tensors without data, and write those down in the place of the fused one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.overrides import handle_torch_function, has_torch_function

from normadvisor.fused.add_norm.registry import IMPLEMENTATIONS
from normadvisor.fused.batch_norm.functional import run_batch_norm
from normadvisor.fused.convolution.functional import run_conv
from normadvisor.fused.gated.functional import gated, gated_packed
from normadvisor.fused.group_norm.layer import run_group_norm

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["fused_add_norm", "fused_batch_norm", "fused_conv", "fused_gate", "fused_group_norm", "fused_packed_gate"]

_ADD_NORMS = {(kind, one.name): one.run for kind, known in IMPLEMENTATIONS.items() for one in known}


def fused_batch_norm(norm: Any, x: torch.Tensor, residual: torch.Tensor | None, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x) + residual)``, with running statistics kept up as the layer's own ``forward`` would.

    Args:
        norm: a ``BatchNorm`` of ``torch.nn``, or one derived from it, in either mode.
        x: its input.
        residual: of the same shape; ``None`` for nothing.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        slope: of ``leaky_relu``.

    """
    given = (x,) if residual is None else (x, residual)
    if has_torch_function(given):
        handed: torch.Tensor = _handed_on(fused_batch_norm, given, norm, x, residual, act, slope)
        return handed
    return run_batch_norm(norm, x, residual, act, slope)


def fused_conv(conv: Any, x: torch.Tensor, residual: torch.Tensor | None, act: str, slope: float) -> torch.Tensor:
    """``act(conv(x) + residual)``.

    Args:
        conv: a convolution of ``torch.nn`` for maps or volumes.
        x: its input.
        residual: of the shape of its output; ``None`` for nothing.
        act: one of :data:`normadvisor.fused.CONV_ACTIVATIONS`.
        slope: of ``leaky_relu``.

    """
    given = (x,) if residual is None else (x, residual)
    if has_torch_function(given):
        handed: torch.Tensor = _handed_on(fused_conv, given, conv, x, residual, act, slope)
        return handed
    return run_conv(conv, x, residual, act, slope)


def fused_group_norm(norm: nn.GroupNorm, x: torch.Tensor, act: str, slope: float) -> torch.Tensor:
    """``act(norm(x))``; arguments as for :func:`fused_batch_norm`."""
    if has_torch_function((x,)):
        handed: torch.Tensor = _handed_on(fused_group_norm, (x,), norm, x, act, slope)
        return handed
    return run_group_norm(norm, x, act, slope)


def fused_add_norm(  # noqa: PLR0917 -- written into forwards by position
    how: tuple[str, str],
    x: torch.Tensor,
    residual: torch.Tensor,
    shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float | None,
    keeps: bool,  # noqa: FBT001 -- as above
) -> tuple[torch.Tensor, torch.Tensor]:
    """The norm of ``x + residual``, and the sum itself.

    Args:
        how: ``add_layer_norm`` or ``add_rms_norm``, and the name of the implementation.
        x: of any shape that ends in ``shape``.
        residual: of the same shape.
        shape: sizes of the axes that are normalized.
        weight: of shape ``shape``; ``None`` for ones.
        bias: likewise, for ``add_layer_norm``; ``None`` for zeros.
        eps: added to the variance, or to the mean square; ``None``, for ``add_rms_norm``, is the smallest step of the dtype.
        keeps: whether anything else reads the sum.

    """
    if has_torch_function((x, residual)):
        found: tuple[torch.Tensor, torch.Tensor]
        found = _handed_on(fused_add_norm, (x, residual), how, x, residual, shape, weight, bias, eps, keeps)
        return found
    done: tuple[torch.Tensor, torch.Tensor] = _ADD_NORMS[how](x, residual, shape, weight, bias, eps, keeps)
    return done


def fused_gate(gate: torch.Tensor, up: torch.Tensor, act: str) -> torch.Tensor:
    """``act(gate) * up``.

    Args:
        gate: of any shape.
        up: of the same shape.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.

    """
    if has_torch_function((gate, up)):
        handed: torch.Tensor = _handed_on(fused_gate, (gate, up), gate, up, act)
        return handed
    return gated(gate, up, act)


def fused_packed_gate(x: torch.Tensor, act: str, gate_last: bool) -> torch.Tensor:  # noqa: FBT001 -- written into forwards by position
    """``act(gate) * up`` of both halves of the last axis of ``x``.

    Args:
        x: an even number of entries along its last axis.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        gate_last: whether the gate is the second half.

    """
    if has_torch_function((x,)):
        handed: torch.Tensor = _handed_on(fused_packed_gate, (x,), x, act, gate_last)
        return handed
    return gated_packed(x, act, -1, gate_last=gate_last)


def _handed_on(function: Any, given: Sequence[torch.Tensor], *args: Any) -> Any:
    """What those make of the call who asked to be told of it."""
    return handle_torch_function(function, given, *args)
