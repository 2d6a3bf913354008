"""GroupNorm + activation as operations of torch: ``normadvisor::group_norm_act`` and its backward.

They take tensors for which :func:`normadvisor.fused.common.triton_support.why_not_triton` has no objection, and are differentiable twice:
the second derivative goes through torch's own operations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import activation, promoted
from normadvisor.fused.common.double_backward import differentiate_again
from normadvisor.fused.common.eager import plain
from normadvisor.fused.common.memory_format import dense
from normadvisor.fused.group_norm.launching import Norm, launch_backward, launch_forward

__all__ = ["group_norm_act_backward_op", "group_norm_act_op", "run"]


def _forward(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, act: str, slope: float, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """Give the output, and what backward has to know of every group: (3, N * groups) in the dtype of the computation.

    That is the mean in two parts, of which the second is small, and the reciprocal standard deviation.

    Args:
        x: (N, C, *spatial), at least one element.
        groups: divides C.
        weight: (C) or none.
        bias: (C) or none.
        eps: added to the variance.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        slope: negative slope of leaky_relu.
        dtype: of the output; that of ``x`` when none.

    """
    x = dense(x)
    channels_last = not x.is_contiguous()
    y = buffers.empty_like(x, dtype or x.dtype)
    statistics = _statistics(x, groups)
    norm = Norm(groups=groups, weight=weight, bias=bias, eps=eps, act=act, slope=slope)
    launch_forward(x, norm, y, statistics, channels_last=channels_last)
    return y, statistics


group_norm_act_op = torch.library.custom_op(
    "normadvisor::group_norm_act",
    _forward,
    mutates_args=(),
    schema="(Tensor x, int groups, Tensor? weight, Tensor? bias, float eps, str act, float slope, ScalarType? dtype) -> (Tensor, Tensor)",
)


def _statistics(x: Tensor, groups: int) -> Tensor:
    return buffers.empty((3, x.shape[0] * groups), promoted(x), x.device)


@group_norm_act_op.register_fake
def _group_norm_act_fake(x: Tensor, groups: int, *rest: Any) -> tuple[Tensor, Tensor]:
    x = dense(x)
    return torch.empty_like(x, dtype=rest[-1] or x.dtype), _statistics(x, groups)


def _gradients(
    dy: Tensor,
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: Tensor,
    eps: float,
    act: str,
    slope: float,
    parameters: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradients of the input, the weight and the bias; without ``parameters`` the last two are empty."""
    x = dense(x)
    channels_last = not x.is_contiguous()
    dx = buffers.empty_like(x)
    dweight, dbias = _parameter_gradients(x, weight, bias, parameters=parameters)
    norm = Norm(groups=groups, weight=weight, bias=bias, eps=eps, act=act, slope=slope)
    launch_backward(dy, x, norm, statistics, dx, (dweight, dbias) if parameters else None, channels_last=channels_last)
    return dx, dweight, dbias


group_norm_act_backward_op = torch.library.custom_op(
    "normadvisor::group_norm_act_backward",
    _gradients,
    mutates_args=(),
    schema="(Tensor dy, Tensor x, int groups, Tensor? weight, Tensor? bias, Tensor statistics, float eps, str act, float slope,"
    " bool parameters) -> (Tensor, Tensor, Tensor)",
)


def _parameter_gradients(x: Tensor, weight: Tensor | None, bias: Tensor | None, *, parameters: bool) -> tuple[Tensor, Tensor]:
    size = (x.shape[1] if parameters else 0,)
    like_weight, like_bias = (x if tensor is None else tensor for tensor in (weight, bias))
    return buffers.empty(size, like_weight.dtype, x.device), buffers.empty(size, like_bias.dtype, x.device)


@group_norm_act_backward_op.register_fake
def _group_norm_act_backward_fake(
    _: Tensor, x: Tensor, __: int, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    x = dense(x)
    return torch.empty_like(x), *_parameter_gradients(x, weight, bias, parameters=rest[-1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, groups, weight, bias, eps, act, slope, _ = inputs
    ctx.set_materialize_grads(False)  # Nobody asks for gradients of the statistics: no zeros for them.
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, weight, bias, output[1])
    ctx.settings = (groups, eps, act, slope)


def _backward(ctx: Any, dy: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, bias, statistics = ctx.saved_tensors
    groups, eps, act, slope = ctx.settings
    if dy is None:
        return (None,) * 8
    wants_weight, wants_bias = ctx.needs_input_grad[2], ctx.needs_input_grad[3]
    # Where the backward is to be differentiated in turn it has to be an operation.
    gradients = _gradients if plain(dy, x) and not torch.is_grad_enabled() else group_norm_act_backward_op
    found = gradients(dy, x, groups, weight, bias, statistics, eps, act, slope, wants_weight or wants_bias)
    return found[0], None, found[1] if wants_weight else None, found[2] if wants_bias else None, None, None, None, None


def _save_for_second(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    dy, x, groups, weight, bias, _, eps, act, slope, parameters = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(dy, x, weight, bias)
    ctx.settings = (groups, eps, act, slope, parameters)


def _second_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, x, weight, bias = ctx.saved_tensors
    groups, eps, act, slope, parameters = ctx.settings

    def forward(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor]:
        return (activation(act, F.group_norm(x, groups, weight, bias, eps), slope),)

    given = gradients if parameters else (gradients[0], None, None)
    (dx, dweight, dbias), (ddy,) = differentiate_again(forward, (x, weight, bias), (dy,), given)
    return ddy, dx, None, dweight, dbias, *(None,) * 5


group_norm_act_op.register_autograd(_backward, setup_context=_save)
group_norm_act_backward_op.register_autograd(_second_backward, setup_context=_save_for_second)


class _GroupNormAct(torch.autograd.Function):
    """The same for calls that nothing but autograd has to see."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        output = _forward(*arguments)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(arguments[0], arguments[2], arguments[3], output[1])
        ctx.settings = (arguments[1], *arguments[4:7])
        return output[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _backward(ctx, *gradients)


def run(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, act: str, slope: float, dtype: torch.dtype | None
) -> Tensor:
    """Give the output of :func:`group_norm_act_op` the shortest way."""
    arguments = (x, groups, weight, bias, eps, act, slope, dtype)
    if not plain(x, weight, bias):
        output: Tensor = group_norm_act_op(*arguments)[0]
        return output
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        differentiable: Tensor = _GroupNormAct.apply(*arguments)
        return differentiable
    return _forward(*arguments)[0]
