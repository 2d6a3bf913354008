"""Add + LayerNorm and add + RMSNorm: the fused kernels where they can run, torch's own operations elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from normadvisor.fused.add_norm import ops
from normadvisor.fused.add_norm.layout import readable
from normadvisor.fused.common.triton_support import INTERPRETED, why_not_triton

__all__ = ["add_layer_norm", "add_norm_in_torch", "add_rms_norm", "supported"]

_AUTOCAST_RMS_NORM = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 12)
"""From 2.12 on autocast runs ``rms_norm`` in float32 (pytorch/pytorch#174824)."""


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    return_sum: bool = True,
) -> tuple[Tensor, Tensor]:
    """Compute ``layer_norm(x + residual)`` and the sum, in one pass over both inputs; backward is one pass, too.

    Args:
        x: ``(*, *normalized_shape)``, float32, float16, bfloat16 or float64.
        residual: of the same shape; it may have another dtype.
        normalized_shape: trailing dimensions over which mean and variance are computed.
        weight: of ``normalized_shape``.
        bias: of ``normalized_shape``.
        eps: added to the variance.
        return_sum: whether the sum is used. It is not stored if it is neither used nor needed for gradients.

    Returns:
        The normalized sum, in the dtype that :func:`torch.nn.functional.layer_norm` gives it, also under autocast; and the sum in the
        promoted dtype of both inputs, of no use if ``return_sum`` is off.

    """
    if not (x.is_cuda or INTERPRETED):
        total = x + residual
        return F.layer_norm(total, normalized_shape, weight, bias, eps), total
    return _add_norm(x, residual, normalized_shape, (weight, bias), eps, center=True, return_sum=return_sum)


def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    return_sum: bool = True,
) -> tuple[Tensor, Tensor]:
    """Compute ``rms_norm(x + residual)`` and the sum, in one pass over both inputs; backward is one pass, too.

    Args:
        x: ``(*, *normalized_shape)``, float32, float16, bfloat16 or float64.
        residual: of the same shape; it may have another dtype.
        normalized_shape: trailing dimensions over which the mean square is computed.
        weight: of ``normalized_shape``.
        eps: added to the mean square; ``None`` is what :func:`torch.nn.functional.rms_norm` makes of it.
        return_sum: whether the sum is used. It is not stored if it is neither used nor needed for gradients.

    Returns:
        As :func:`add_layer_norm`.

    """
    if not (x.is_cuda or INTERPRETED):
        total = x + residual
        return F.rms_norm(total, normalized_shape, weight, eps), total
    return _add_norm(x, residual, normalized_shape, (weight, None), eps, center=False, return_sum=return_sum)


def supported(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = 1e-5,
    *,
    center: bool = True,
) -> str:
    """Why torch's own operations compute this, in words; empty if the fused kernels do.

    Args:
        x: as in :func:`add_layer_norm`.
        residual: as there.
        normalized_shape: as there.
        weight: as there.
        bias: as there.
        eps: as there.
        center: whether the mean is subtracted: LayerNorm, else RMSNorm.

    """
    reason = why_not_triton(x, residual, weight, bias)
    if reason:
        return reason
    shape = tuple(normalized_shape)
    if x.shape != residual.shape:
        return "the summands have different shapes"
    if not shape or tuple(x.shape[x.dim() - len(shape) :]) != shape or len(shape) > x.dim():
        return f"the last dimensions are not {shape}"
    if any(parameter is not None and tuple(parameter.shape) != shape for parameter in (weight, bias)):
        return f"the parameters are not of shape {shape}"
    total, out = _dtypes(x, residual, center=center)
    if any(parameter is not None and parameter.dtype != out for parameter in (weight, bias)) and out == total:
        return f"the parameters are not in {_name(total)}, as the sum is"
    if eps is None and out not in {torch.float32, torch.float64}:
        return f"what eps=None means in {_name(out)} differs between versions of torch"
    if not readable(x, residual, len(shape)):
        return "the inputs would have to be copied first"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtypes(x: Tensor, residual: Tensor, *, center: bool) -> tuple[torch.dtype, torch.dtype]:
    """Dtype of the sum and of the normalized sum: autocast runs norms on GPUs in float32."""
    total = torch.promote_types(x.dtype, residual.dtype)
    casts = x.is_cuda and torch.is_autocast_enabled("cuda") and (center or _AUTOCAST_RMS_NORM) and total != torch.float64
    return total, torch.float32 if casts else total


def _add_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    parameters: tuple[Tensor | None, Tensor | None],
    eps: float | None,
    *,
    center: bool,
    return_sum: bool,
) -> tuple[Tensor, Tensor]:
    weight, bias = parameters
    if supported(x, residual, normalized_shape, weight, bias, eps, center=center):
        return add_norm_in_torch(x, residual, normalized_shape, parameters, eps, center=center)
    dtype = _dtypes(x, residual, center=center)[1]
    number = torch.finfo(dtype).eps if eps is None else eps
    tensors = [tensor for tensor in (x, residual, weight, bias) if tensor is not None]
    store = return_sum or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
    out, total = ops.run(x, residual, list(normalized_shape), weight, bias, number, center, dtype, store)
    # As torch's: it may be the input of `view`.
    return out.contiguous(), total


def add_norm_in_torch(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    parameters: tuple[Tensor | None, Tensor | None],
    eps: float | None,
    *,
    center: bool,
) -> tuple[Tensor, Tensor]:
    """Compute the same with torch's own operations.

    Args:
        x: as in :func:`add_layer_norm`.
        residual: as there.
        normalized_shape: as there.
        parameters: weight and bias.
        eps: as there; ``None`` for RMSNorm only.
        center: whether the mean is subtracted: LayerNorm, else RMSNorm.

    """
    total = x + residual
    shape = list(normalized_shape)
    if center:
        return F.layer_norm(total, shape, *parameters, 1e-5 if eps is None else eps), total
    return F.rms_norm(total, shape, parameters[0], eps), total
