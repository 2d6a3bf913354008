"""BatchNorm with what is added to it and its activation, as functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normadvisor.fused.batch_norm import ops, reference
from normadvisor.fused.batch_norm.layout import LONGEST_ROW
from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common.activations import ACTIVATIONS, DEFAULT_SLOPE, check_activation
from normadvisor.fused.common.in_torch import add_and_activate
from normadvisor.fused.common.triton_support import INTERPRETED, why_not_triton

__all__ = ["batch_norm_act", "batch_norm_supported", "normalize", "run_batch_norm", "statistics_of"]


def batch_norm_supported(
    input: Tensor,  # noqa: A002 (torch's name)
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT002 (torch's order)
    *,
    residual: Tensor | None = None,
) -> str:
    """Why :func:`batch_norm_act` takes torch's own operations for these arguments, in words; empty if the kernels run.

    What torch would refuse is left to torch, so that its errors stay what they are.
    """
    parameters = [tensor for tensor in (running_mean, running_var, weight, bias) if tensor is not None]
    everything = [input, *parameters] if residual is None else [input, residual, *parameters]
    return (
        why_not_triton(*everything)
        or _why_not_kind(everything)
        or _why_not_shape(input, parameters, residual)
        or _why_not_dtype(input, parameters)
        or _why_not_statistics(input, running_mean, running_var, training=training)
    )


def _why_not_kind(tensors: list[Tensor]) -> str:
    if torch.compiler.is_compiling():
        return ""
    odd = next((type(tensor) for tensor in tensors if type(tensor) not in {Tensor, nn.Parameter}), None)
    return f"{odd.__name__} is a kind of tensor of its own" if odd else ""


def _why_not_shape(input: Tensor, parameters: list[Tensor], residual: Tensor | None) -> str:  # noqa: A002 (torch's name)
    if input.dim() < 2 or input.numel() == 0:
        return "there is nothing to normalize"
    if input.numel() // (input.shape[0] * input.shape[1]) >= LONGEST_ROW:
        return f"a channel of a sample has {LONGEST_ROW} entries or more"
    if any(tensor.dim() != 1 or tensor.shape[0] != input.shape[1] or not tensor.is_contiguous() for tensor in parameters):
        return "parameters or statistics are not one number per channel, side by side"
    if residual is not None and (residual.shape != input.shape or residual.dtype != input.dtype):
        return "what is added has another shape or dtype"
    return ""


def _why_not_dtype(input: Tensor, parameters: list[Tensor]) -> str:  # noqa: A002 (torch's name)
    allowed = {input.dtype, torch.float32} if input.dtype in {torch.float16, torch.bfloat16} else {input.dtype}
    return "" if all(tensor.dtype in allowed for tensor in parameters) else "dtypes of input and parameters do not go together"


def _why_not_statistics(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, *, training: bool) -> str:  # noqa: A002
    if (running_mean is None) != (running_var is None) or not (training or running_mean is not None):
        return "a running statistic is missing"
    if training and input.numel() == input.shape[1]:
        return "one value per channel has no statistics"
    if any(tensor is not None and tensor.requires_grad for tensor in (running_mean, running_var)):
        return "running statistics take gradients"
    return ""


def normalize(
    input: Tensor,  # noqa: A002 (torch's name)
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: Statistics,
    epilogue: Epilogue,
) -> Tensor:
    """Count the batch, where batches are counted, and do what :func:`batch_norm_act` says: by kernels where they run."""
    if statistics.counter is not None:
        statistics.counter.add_(1)
    training, mean, var = statistics.training, statistics.running_mean, statistics.running_var
    if not (input.is_cuda or INTERPRETED) or batch_norm_supported(input, mean, var, weight, bias, training, residual=residual):
        return reference.with_torch(input, residual, weight, bias, statistics, epilogue)
    return ops.run(input, residual, weight, bias, statistics, epilogue)


def batch_norm_act(
    input: Tensor,  # noqa: A002 (torch's name)
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT002 (torch's order)
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    act: str = "none",
    negative_slope: float = DEFAULT_SLOPE,
) -> Tensor:
    r"""Normalize each channel as :func:`torch.nn.functional.batch_norm` does, add ``residual``, and activate, in one operation.

    On NVIDIA GPUs with Triton, training reads the input twice and writes the result once; what is activated is not kept but computed again
    for the backward pass. Elsewhere, and for arguments that :func:`batch_norm_supported` names a reason for, torch's own operations run.

    Args:
        input: (N, C, \\*spatial), in any memory format; the result has the same.
        running_mean: (C,); moved in place in training. ``None`` in training: nothing is moved.
        running_var: (C,); as ``running_mean``.
        weight: (C,), or ``None`` for 1.
        bias: (C,), or ``None`` for 0.
        training: whether statistics are those of the batch, else the running ones.
        momentum: how far running statistics move towards those of the batch.
        eps: added to the variance.
        residual: of the shape of ``input``; added before the activation.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.

    Returns:
        A tensor of shape, dtype and memory format of ``input``.

    Raises:
        ValueError: ``act`` is no known activation, or in training there is one value per channel only.

    """
    if act not in ACTIVATIONS:
        check_activation(act)
    if not (input.is_cuda or INTERPRETED):
        out = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        return add_and_activate(out, residual, act, negative_slope)
    statistics = Statistics(running_mean=running_mean, running_var=running_var, training=training, momentum=momentum)
    return normalize(input, residual, weight, bias, statistics, Epilogue(eps=eps, act=act, slope=negative_slope))


def run_batch_norm(
    norm: _BatchNorm,
    input: Tensor,  # noqa: A002 (torch's name)
    residual: Tensor | None = None,
    act: str = "none",
    negative_slope: float = DEFAULT_SLOPE,
) -> Tensor:
    r"""Do what the layer ``norm`` does, add ``residual`` and activate, in one operation; its statistics and their counter move.

    Args:
        norm: a BatchNorm layer of torch, in either mode. Its hooks do not run.
        input: (N, C, \\*spatial).
        residual: see :func:`batch_norm_act`.
        act: see :func:`batch_norm_act`.
        negative_slope: of ``leaky_relu``.

    Raises:
        ValueError: see :func:`batch_norm_act`.

    """
    if act not in ACTIVATIONS:
        check_activation(act)
    if not (input.is_cuda or INTERPRETED):
        return add_and_activate(_BatchNorm.forward(norm, input), residual, act, negative_slope)
    norm._check_input_dim(input)  # type: ignore[no-untyped-call]  # noqa: SLF001 (as its own forward does)
    epilogue = Epilogue(eps=norm.eps, act=act, slope=negative_slope)
    return normalize(input, residual, norm.weight, norm.bias, statistics_of(norm), epilogue)


def statistics_of(norm: _BatchNorm) -> Statistics:
    """What a BatchNorm layer of torch reads and moves, in the mode that it is in."""
    moved = norm.training and norm.track_running_stats
    return Statistics(
        running_mean=norm.running_mean if moved or not norm.training else None,
        running_var=norm.running_var if moved or not norm.training else None,
        training=norm.training or (norm.running_mean is None and norm.running_var is None),
        momentum=norm.momentum,
        counter=norm.num_batches_tracked if moved else None,
    )
