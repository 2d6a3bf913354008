"""What stands behind a normalization, in torch's own operations."""

from __future__ import annotations

import torch
from torch import Tensor

from normadvisor.fused.common.activations import activation

__all__ = ["add_and_activate"]

_KEEP_THEIR_RESULT = frozenset({"relu", "relu6", "leaky_relu"})
"""Activations whose backward pass needs their result alone: they may overwrite their input while gradients are recorded. That of leaky_relu
reads the sign of the input from the result, for which slopes must not be negative."""

# Looked up once: these are asked in every call on a CPU.
_tracing_state = torch._C._get_tracing_state  # noqa: SLF001 (what torch.jit.is_tracing asks)
_transform = torch._C._functorch.peek_interpreter_stack  # noqa: SLF001 (torch asks the same way in torch._functorch)


def add_and_activate(out: Tensor, residual: Tensor | None, act: str, slope: float) -> Tensor:
    """Add and activate what a normalization gave, in place where nobody can tell.

    Args:
        out: the result of a normalization, which nothing else uses.
        residual: added before the activation; ``None``: nothing is.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        slope: negative slope of ``leaky_relu``.

    """
    keeps = act in _KEEP_THEIR_RESULT and slope >= 0
    if residual is None and not keeps and out.requires_grad:
        return activation(act, out, slope)
    # Compilers and exporters gain nothing from it, what torch.jit traces has to be the same with gradients and without, and a transform of
    # torch.func may have to widen a tensor. Fake tensors, which exporters trace with, are of another type.
    own = not torch.compiler.is_dynamo_compiling() and type(out) is Tensor and _tracing_state() is None and _transform() is None
    if residual is not None:
        fits = own and residual.shape == out.shape and residual.dtype == out.dtype
        out = out.add_(residual) if fits else out + residual
    return activation(act, out, slope, own and (keeps or not out.requires_grad))
