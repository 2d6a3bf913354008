"""The same in torch's own operations: what runs without the kernels, and what is differentiated twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common.activations import activation, promoted
from normadvisor.fused.common.in_torch import add_and_activate

__all__ = ["backward", "forward", "statistics", "with_torch"]


def with_torch(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kept: Statistics, epilogue: Epilogue
) -> Tensor:
    """Normalize as :func:`torch.nn.functional.batch_norm`, add, activate; without a tensor more than torch's layers would need."""
    out = F.batch_norm(x, kept.running_mean, kept.running_var, weight, bias, kept.training, kept.factor, epilogue.eps)
    return add_and_activate(out, residual, epilogue.act, epilogue.slope)


def forward(
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    epilogue: Epilogue,
    *,
    batch_statistics: bool,
) -> Tensor:
    """Normalize, add and activate; differentiable through the statistics where they are those of the batch."""
    running_mean, running_var = (None, None) if batch_statistics else (mean, var)
    z = F.batch_norm(x, running_mean, running_var, weight, bias, batch_statistics, 0.0, epilogue.eps)
    return activation(epilogue.act, z if residual is None else z + residual, epilogue.slope)


def statistics(x: Tensor, kept: Statistics) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, in float32 (float64 for float64); moves the running statistics, if any."""
    others = [0, *range(2, x.dim())]
    var, mean = torch.var_mean(x.to(promoted(x)), others, correction=0)
    if kept.running_mean is not None and kept.running_var is not None:
        count = x.numel() // x.shape[1]
        factor = kept.factor if kept.batches is None else 1.0 / kept.batches.to(mean.dtype)
        kept.running_mean.copy_(factor * mean + (1.0 - factor) * kept.running_mean)
        kept.running_var.copy_(factor * (var * (count / (count - 1))) + (1.0 - factor) * kept.running_var)
    return mean, var


def backward(
    dy: Tensor,
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    epilogue: Epilogue,
    *,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, of what is added, of weight and of bias, all in float32 (float64 for float64).

    Written out, as inside an operation nothing is recorded: with z = n * weight + bias + residual and n = (x - mean) / deviation, the
    gradient of x is weight / deviation * (dz - mean of dz - n * mean of dz * n), with means over a channel (Ioffe and Szegedy, 2015).
    """
    wide = promoted(x)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    others = [0, *range(2, x.dim())]
    inverse = (var.to(wide) + epilogue.eps).rsqrt().view(shape)
    normalized = (x.to(wide) - mean.to(wide).view(shape)) * inverse
    z = normalized if weight is None else normalized * weight.to(wide).view(shape)
    z = z if bias is None else z + bias.to(wide).view(shape)
    z = z if residual is None else z + residual.to(wide)
    dz = _activation_backward(dy.to(wide), z, epilogue)
    dbias, dweight = dz.sum(others), (dz * normalized).sum(others)
    dx = dz
    if batch_statistics:
        count = x.numel() // x.shape[1]
        dx = dz - (dbias / count).view(shape) - normalized * (dweight / count).view(shape)
    dx = dx * inverse
    return dx if weight is None else dx * weight.to(wide).view(shape), dz, dweight, dbias


def _activation_backward(dy: Tensor, z: Tensor, epilogue: Epilogue) -> Tensor:
    aten = torch.ops.aten
    formulas: dict[str, Callable[[], Tensor]] = {
        "none": dy.clone,
        "relu": lambda: aten.threshold_backward(dy, z, 0),
        "relu6": lambda: aten.hardtanh_backward(dy, z, 0, 6),
        "leaky_relu": lambda: aten.leaky_relu_backward(dy, z, epilogue.slope, False),
        "silu": lambda: aten.silu_backward(dy, z),
        "gelu": lambda: aten.gelu_backward(dy, z, approximate="none"),
        "gelu_tanh": lambda: aten.gelu_backward(dy, z, approximate="tanh"),
        "hardswish": lambda: aten.hardswish_backward(dy, z),
        "mish": lambda: aten.mish_backward(dy, z),
    }
    return formulas[epilogue.act]()
