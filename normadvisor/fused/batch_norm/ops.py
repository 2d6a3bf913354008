"""The operations as torch knows them: ``torch.ops.normadvisor.batch_norm_*``, with shapes for compilers and gradients.

Statistics and everything after them are two operations, as an operation that changes its arguments (the running statistics) cannot have
gradients: the second one has them, and where it is told that its statistics are those of its input, they go through the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normadvisor.fused.batch_norm import reference
from normadvisor.fused.batch_norm.compute import Saved, compute_gradients, compute_output, compute_statistics, places
from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.double_backward import differentiate_again
from normadvisor.fused.common.eager import plain
from normadvisor.fused.common.memory_format import dense

__all__ = ["batch_norm_act", "batch_norm_act_backward", "batch_norm_statistics", "run"]

_STATISTICS = "(Tensor x, Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor? batches, float momentum) -> (Tensor, Tensor)"
_FORWARD = (
    "(Tensor x, Tensor? residual, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, "
    "float eps, str act, float slope, bool batch_statistics) -> Tensor"
)
_BACKWARD = (
    "(Tensor dy, Tensor x, Tensor? residual, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, "
    "float eps, str act, float slope, bool batch_statistics, bool[] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("normadvisor::batch_norm_statistics", mutates_args=("running_mean", "running_var"), schema=_STATISTICS)
def batch_norm_statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, batches: Tensor | None, momentum: float
) -> tuple[Tensor, Tensor]:
    r"""Mean and biased variance of each channel of x (N, C, \*spatial), in float32 (float64 for float64); has no gradients.

    ``running_mean`` and ``running_var`` (C,) move as torch moves them: by ``momentum``, or by 1 / ``batches`` (a tensor of one integer).
    """
    moved = None if batches is not None else momentum
    return compute_statistics(
        x, Statistics(running_mean=running_mean, running_var=running_var, training=True, momentum=moved, counter=batches)
    )


@batch_norm_statistics.register_fake
def _statistics_fake(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, batches: Tensor | None, momentum: float
) -> tuple[Tensor, Tensor]:
    del running_mean, running_var, batches, momentum
    wide = promoted(x)
    return x.new_empty(x.shape[1], dtype=wide), x.new_empty(x.shape[1], dtype=wide)


def _saved(tensors: Sequence[Any], eps: float, act: str, slope: float, batch_statistics: bool) -> Saved:
    x, residual, mean, var, weight, bias = tensors
    epilogue = Epilogue(eps=eps, act=act, slope=slope)
    return Saved(
        x=x, residual=residual, mean=mean, var=var, weight=weight, bias=bias, epilogue=epilogue, batch_statistics=batch_statistics
    )


@torch.library.custom_op("normadvisor::batch_norm_act", mutates_args=(), schema=_FORWARD)
def batch_norm_act(*arguments: Any) -> Tensor:
    """``act((x - mean) / sqrt(var + eps) * weight + bias + residual)``; see :func:`normadvisor.fused.batch_norm_act`.

    ``batch_statistics``: whether mean and var are those of x, so that gradients go through them; else they are constants.
    """
    return compute_output(_saved(arguments[:6], *arguments[6:]))


@batch_norm_act.register_fake
def _forward_fake(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(dense(x))


@torch.library.custom_op("normadvisor::batch_norm_act_backward", mutates_args=(), schema=_BACKWARD)
def batch_norm_act_backward(dy: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, residual, weight and bias; those that are not ``wanted`` are empty."""
    return compute_gradients(dy, _saved(arguments[:6], *arguments[6:10]), arguments[10])


@batch_norm_act_backward.register_fake
def _backward_fake(_: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = _saved(arguments[:6], *arguments[6:10])
    return places(given.x, given.residual, given.weight, given.bias, arguments[10])


def _remember(ctx: Any, given: Saved) -> None:
    ctx.set_materialize_grads(False)
    # Without an activation the gradients do not depend on what was added.
    residual = None if given.epilogue.act == "none" else given.residual
    ctx.save_for_backward(given.x, residual, given.mean, given.var, given.weight, given.bias)
    ctx.settings = (given.epilogue.eps, given.epilogue.act, given.epilogue.slope, given.batch_statistics)


def _differentiate(ctx: Any, dy: Tensor | None, needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Gradients of x, residual, weight and bias."""
    if dy is None or not any(needed):
        return (None,) * 4
    tensors = ctx.saved_tensors
    as_it_is = needed[1] and tensors[1] is None
    wanted = [needed[0], needed[1] and not as_it_is, needed[2], needed[3]]
    if not any(wanted):
        return None, dy, None, None
    # Where the backward pass is to be differentiated in turn it has to be an operation.
    if plain(dy, tensors[0]) and not torch.is_grad_enabled():
        found = compute_gradients(dy, _saved(tensors, *ctx.settings), wanted)
    else:
        found = batch_norm_act_backward(dy, *tensors, *ctx.settings, wanted)
    dx, dresidual, dweight, dbias = (value if keep else None for value, keep in zip(found, wanted, strict=True))
    return dx, dy if as_it_is else dresidual, dweight, dbias


def _remember_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    _remember(ctx, _saved(inputs[:6], *inputs[6:]))


def _differentiate_forward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
    x, residual, _, _, weight, bias = ctx.needs_input_grad[:6]
    dx, dresidual, dweight, dbias = _differentiate(ctx, dy, (x, residual, weight, bias))
    return dx, dresidual, None, None, dweight, dbias, None, None, None, None


def _remember_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:7])
    ctx.settings, ctx.wanted = inputs[7:11], tuple(inputs[11])


def _differentiate_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, *tensors = ctx.saved_tensors
    given = _saved(tensors, *ctx.settings)

    def forward(x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor]:
        return (
            reference.forward(x, residual, given.mean, given.var, weight, bias, given.epilogue, batch_statistics=given.batch_statistics),
        )

    seeds = tuple(gradient if kept else None for gradient, kept in zip(gradients, ctx.wanted, strict=True))
    inputs = (given.x, given.residual, given.weight, given.bias)
    (dx, dresidual, dweight, dbias), (ddy,) = differentiate_again(forward, inputs, (dy,), seeds)
    return ddy, dx, dresidual, None, None, dweight, dbias, None, None, None, None, None


batch_norm_act.register_autograd(_differentiate_forward, setup_context=_remember_forward)
batch_norm_act_backward.register_autograd(_differentiate_backward, setup_context=_remember_backward)


class _Direct(torch.autograd.Function):
    """The same for calls that nothing but autograd has to see."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, given: Saved) -> Tensor:
        del x, residual, weight, bias  # they are in ``given``; autograd sees them as arguments
        _remember(ctx, given)
        return compute_output(given)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return *_differentiate(ctx, gradients[0], ctx.needs_input_grad[:4]), None


def run(x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kept: Statistics, epilogue: Epilogue) -> Tensor:
    """Normalize, add and activate the shortest way, and move the running statistics in training."""
    if not plain(x, residual, weight, bias, kept.running_mean, kept.running_var):
        return _run_operations(x, residual, weight, bias, kept, epilogue)
    mean, var = kept.running_mean, kept.running_var
    if kept.training:
        mean, var = compute_statistics(x.detach(), kept)
        if kept.running_mean is not None and kept.running_var is not None:
            # Kernels write past autograd, which has to know where an earlier call keeps them for its gradients.
            increment_version((kept.running_mean, kept.running_var))
    assert mean is not None  # noqa: S101 (it is supported)
    assert var is not None  # noqa: S101 (as above)
    given = Saved(
        x=x, residual=residual, mean=mean, var=var, weight=weight, bias=bias, epilogue=epilogue, batch_statistics=kept.training
    )
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, residual, weight, bias)):
        differentiable: Tensor = _Direct.apply(x, residual, weight, bias, given)
        return differentiable
    return compute_output(given)


def _run_operations(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kept: Statistics, epilogue: Epilogue
) -> Tensor:
    mean, var = kept.running_mean, kept.running_var
    if kept.training:
        moved = 0.0 if kept.momentum is None else kept.momentum
        mean, var = batch_norm_statistics(x.detach(), mean, var, kept.batches, moved)
    settings = (epilogue.eps, epilogue.act, epilogue.slope, kept.training)
    result: Tensor = batch_norm_act(x, residual, mean, var, weight, bias, *settings)
    return result
