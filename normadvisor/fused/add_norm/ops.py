"""Add + norm as operations of torch: ``normadvisor::add_norm`` and its backward.

They run on a GPU through Triton; :mod:`normadvisor.fused.add_norm.functional` calls them where they can, torch's own operations elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normadvisor.fused.add_norm.layout import rows_of
from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.double_backward import differentiate_again
from normadvisor.fused.common.eager import plain
from normadvisor.fused.common.memory_format import like
from normadvisor.fused.common.rows import product

__all__ = ["add_norm", "add_norm_backward", "run"]


def _forward(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    center: bool,
    out_dtype: torch.dtype,
    store_total: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize rows of ``x + residual``.

    Args:
        x: ``(*, *normalized_shape)``.
        residual: of the same shape.
        normalized_shape: trailing dimensions that make a row.
        weight: of ``normalized_shape``.
        bias: of ``normalized_shape``.
        eps: added to the variance.
        center: whether the mean is subtracted: LayerNorm, else RMSNorm.
        out_dtype: of the first output.
        store_total: whether the sum is wanted; backward needs it.

    Returns:
        The normalized sum; the sum, in the promoted dtype of both (empty if not stored); mean (empty for RMSNorm) and reciprocal standard
        deviation of every row, in float32, for float64 in float64.

    """
    columns = product(normalized_shape)
    rows = rows_of(x, residual, len(normalized_shape))
    out, total, mean, rstd = _outputs(rows[0], residual, columns, center=center, out_dtype=out_dtype, store_total=store_total)
    if out.numel():
        from normadvisor.fused.add_norm.run import run_forward  # noqa: PLC0415 (needs Triton)

        run_forward(rows, (_contiguous(weight), _contiguous(bias)), (out, total, mean if center else None, rstd), eps, columns)
    return out, total, mean, rstd


add_norm = torch.library.custom_op("normadvisor::add_norm", _forward, mutates_args=())


def _contiguous(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.contiguous()


def _outputs(
    x: Tensor, residual: Tensor, columns: int, *, center: bool, out_dtype: torch.dtype, store_total: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, residual.dtype)
    accumulator = promoted(x, residual)
    # Slices have gaps between their rows, which `empty_like` closes.
    out = buffers.empty_like(x, out_dtype)
    total = buffers.empty_like(x, dtype) if store_total else buffers.empty((0,), dtype, x.device)
    count = x.numel() // columns if columns else 0
    return out, total, buffers.empty((count if center else 0,), accumulator, x.device), buffers.empty((count,), accumulator, x.device)


@add_norm.register_fake
def _(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    center, out_dtype, store_total = rest[-3:]
    rows = rows_of(x, residual, len(normalized_shape))
    return _outputs(rows[0], residual, product(normalized_shape), center=center, out_dtype=out_dtype, store_total=store_total)


def _backward(
    d_out: Tensor,
    d_total: Tensor | None,
    total: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    normalized_shape: Sequence[int],
    eps: float,  # noqa: ARG001 (only differentiating once more needs it)
    center: bool,
    weight_dtype: torch.dtype | None,
    bias_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of :func:`_forward`.

    Args:
        d_out: gradient of the normalized sum.
        d_total: gradient of the sum; ``None`` is zero.
        total: the sum.
        weight: of ``normalized_shape``.
        mean: of every row, as forward gave it.
        rstd: of every row, as forward gave it.
        normalized_shape: trailing dimensions that make a row.
        eps: added to the variance.
        center: whether the mean was subtracted.
        weight_dtype: of the gradient of the weight; ``None``: not wanted.
        bias_dtype: of the gradient of the bias; ``None``: not wanted.

    Returns:
        Gradient of the sum, which is that of both inputs; of the weight; of the bias. Empty what is not wanted.

    """
    columns = product(normalized_shape)
    d_input, d_weight, d_bias = _gradients(total, normalized_shape, weight_dtype, bias_dtype)
    if total.numel() == 0:
        d_weight.zero_()
        d_bias.zero_()
        return d_input, d_weight, d_bias
    from normadvisor.fused.add_norm.run import run_backward  # noqa: PLC0415 (needs Triton)

    gradients = like(d_out, total), None if d_total is None else like(d_total, total)
    outputs = d_input, None if weight_dtype is None else d_weight, None if bias_dtype is None else d_bias
    run_backward((*gradients, total, _contiguous(weight), mean if center else None, rstd), outputs, columns)
    return d_input, d_weight, d_bias


add_norm_backward = torch.library.custom_op("normadvisor::add_norm_backward", _backward, mutates_args=())


def _gradients(
    total: Tensor, normalized_shape: Sequence[int], weight_dtype: torch.dtype | None, bias_dtype: torch.dtype | None
) -> tuple[Tensor, Tensor, Tensor]:
    dtypes = weight_dtype, bias_dtype
    weight, bias = (buffers.empty((0,) if dtype is None else normalized_shape, dtype or total.dtype, total.device) for dtype in dtypes)
    return buffers.empty_like(total), weight, bias


@add_norm_backward.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients(arguments[2], arguments[6], *arguments[-2:])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, residual, normalized_shape, weight, bias, eps, center, _, _ = inputs
    _, total, mean, rstd = output
    ctx.mark_non_differentiable(mean, rstd)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(total, weight, mean, rstd)
    ctx.normalized_shape, ctx.eps, ctx.center = list(normalized_shape), eps, center
    ctx.dtypes = x.dtype, residual.dtype
    ctx.weight_dtype = weight.dtype if weight is not None and ctx.needs_input_grad[3] else None
    ctx.bias_dtype = bias.dtype if bias is not None and ctx.needs_input_grad[4] else None


def _differentiate(ctx: Any, d_out: Tensor | None, d_total: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    total, weight, mean, rstd = ctx.saved_tensors
    d_weight = d_bias = None
    d_input = d_total
    if d_out is not None:
        if total.numel() < d_out.numel():
            raise RuntimeError("normadvisor::add_norm was called with store_total=False: without the sum its gradient cannot be computed")
        settings = ctx.normalized_shape, ctx.eps, ctx.center, ctx.weight_dtype, ctx.bias_dtype
        # Where backward is to be differentiated in turn it has to be an operation.
        backward = _backward if plain(d_out, d_total, total) and not torch.is_grad_enabled() else add_norm_backward
        d_input, d_weight, d_bias = backward(d_out, d_total, total, weight, mean, rstd, *settings)
    wanted = zip(ctx.dtypes, ctx.needs_input_grad[:2], strict=True)
    d_x, d_residual = (d_input.to(dtype) if d_input is not None and needed else None for dtype, needed in wanted)
    return d_x, d_residual, None, d_weight if ctx.weight_dtype else None, d_bias if ctx.bias_dtype else None, None, None, None, None


add_norm.register_autograd(_differentiate, setup_context=_save)


def _save_again(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:  # noqa: ARG001
    d_out, d_total, total, weight, _, _, normalized_shape, eps, center, weight_dtype, bias_dtype = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(d_out, d_total, total, weight)
    ctx.normalized_shape, ctx.eps, ctx.center = list(normalized_shape), eps, center
    ctx.dtypes = weight_dtype, bias_dtype


def _differentiate_again(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    """Second derivatives, through torch's own operations: whoever penalizes gradients needs them, and speed matters little there."""
    d_out, d_total, total, weight = ctx.saved_tensors
    shape, eps, center = ctx.normalized_shape, ctx.eps, ctx.center
    bias = None if ctx.dtypes[1] is None else torch.zeros(shape, dtype=ctx.dtypes[1], device=total.device)

    def forward(total: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor]:
        value = total.to(d_out.dtype)
        scale, shift = (None if parameter is None else parameter.to(d_out.dtype) for parameter in (weight, bias))
        return (F.layer_norm(value, shape, scale, shift, eps) if center else F.rms_norm(value, shape, scale, eps),)

    wanted = [gradient if dtype is not None else None for gradient, dtype in zip(gradients[1:], ctx.dtypes, strict=True)]
    (d_of_total, d_of_weight, _), (d_of_d_out,) = differentiate_again(forward, (total, weight, bias), (d_out,), (gradients[0], *wanted))
    d_of_d_total = gradients[0] if d_total is not None else None
    return d_of_d_out, d_of_d_total, d_of_total, d_of_weight, None, None, None, None, None, None, None


add_norm_backward.register_autograd(_differentiate_again, setup_context=_save_again)


class _AddNorm(torch.autograd.Function):
    """The same for calls that nothing but autograd has to see."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        output = _forward(*inputs)
        _save(ctx, inputs, output)
        return output

    backward = staticmethod(_differentiate)


def run(*inputs: Any) -> tuple[Tensor, Tensor]:
    """Call :data:`add_norm` with its inputs, past the dispatcher where that makes no difference; give the normalized sum and the sum."""
    tensors = inputs[0], inputs[1], inputs[3], inputs[4]
    if not plain(*tensors):
        out, total, _, _ = add_norm(*inputs)
    elif torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        out, total, _, _ = _AddNorm.apply(*inputs)
    else:
        out, total, _, _ = _forward(*inputs)
    return out, total
