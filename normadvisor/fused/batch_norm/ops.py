"""The operations as torch knows them: ``torch.ops.normadvisor.batch_norm_*``, with shapes for compilers and gradients.

Statistics and everything after them are two operations, as an operation that changes its arguments (the running statistics) cannot have
gradients: the second one has them, and where it is told that its statistics are those of its input, they go through the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.batch_norm import launch, reference
from normadvisor.fused.batch_norm.layout import dense, like
from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.double_backward import differentiate_again
from normadvisor.fused.common.triton_support import why_not_triton

__all__ = ["batch_norm_act", "batch_norm_act_backward", "batch_norm_statistics"]

_STATISTICS = "(Tensor x, Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor? batches, float momentum) -> (Tensor, Tensor)"
_FORWARD = (
    "(Tensor x, Tensor? residual, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, "
    "float eps, str act, float slope, bool batch_statistics) -> Tensor"
)
_BACKWARD = (
    "(Tensor dy, Tensor x, Tensor? residual, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, "
    "float eps, str act, float slope, bool batch_statistics, bool[] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)


def _runs(x: Tensor) -> bool:
    """Whether kernels run; that they can run on all other arguments is what :func:`normadvisor.fused.batch_norm_supported` looks at."""
    return x.numel() > 0 and not why_not_triton(x)


@torch.library.custom_op("normadvisor::batch_norm_statistics", mutates_args=("running_mean", "running_var"), schema=_STATISTICS)
def batch_norm_statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, batches: Tensor | None, momentum: float
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x (N, C, \\*spatial), in float32 (float64 for float64); has no gradients.

    ``running_mean`` and ``running_var`` (C,) are moved as torch moves them: by ``momentum``, or by 1 / ``batches`` (a tensor of one integer).
    """
    moved = None if batches is not None else momentum
    kept = Statistics(running_mean=running_mean, running_var=running_var, training=True, momentum=moved, counter=batches)
    if _runs(x):
        return launch.statistics(dense(x), kept)
    return reference.statistics(x, kept)


@batch_norm_statistics.register_fake
def _(x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, batches: Tensor | None, momentum: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    wide = promoted(x)
    return x.new_empty(x.shape[1], dtype=wide), x.new_empty(x.shape[1], dtype=wide)


@torch.library.custom_op("normadvisor::batch_norm_act", mutates_args=(), schema=_FORWARD)
def batch_norm_act(
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    act: str,
    slope: float,
    batch_statistics: bool,  # noqa: FBT001 (operations take positions)
) -> Tensor:
    """``act((x - mean) / sqrt(var + eps) * weight + bias + residual)``; see :func:`normadvisor.fused.batch_norm_act`.

    ``batch_statistics``: whether mean and var are those of x, so that gradients go through them; else they are constants.
    """
    x = dense(x)
    epilogue = Epilogue(eps=eps, act=act, slope=slope)
    if _runs(x):
        return launch.apply(x, None if residual is None else like(residual, x), mean, var, weight, bias, epilogue)
    out = reference.forward(x, residual, mean, var, weight, bias, epilogue, batch_statistics=batch_statistics)
    return like(out, x)


@batch_norm_act.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(dense(x))


@torch.library.custom_op("normadvisor::batch_norm_act_backward", mutates_args=(), schema=_BACKWARD)
def batch_norm_act_backward(
    dy: Tensor,
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    act: str,
    slope: float,
    batch_statistics: bool,  # noqa: FBT001 (operations take positions)
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, residual, weight and bias; those that are not ``wanted`` are empty."""
    x = dense(x)
    epilogue = Epilogue(eps=eps, act=act, slope=slope)
    results = _results(x, residual, weight, bias, wanted)
    places = [result if needed else None for result, needed in zip(results, wanted, strict=True)]
    if not _runs(x):
        found = reference.backward(dy, x, residual, mean, var, weight, bias, epilogue, batch_statistics=batch_statistics)
        for place, value in zip(places, found, strict=True):
            if place is not None:
                place.copy_(value)
        return results
    sources = launch.Sources(
        x=x,
        residual=None if residual is None else like(residual, x),
        dy=like(dy, x),
        mean=mean,
        var=var,
        weight=weight,
        bias=bias,
        epilogue=epilogue,
    )
    _run_backward(sources, *places, batch_statistics=batch_statistics)
    return results


def _results(x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, wanted: Sequence[bool]) -> tuple[Tensor, ...]:
    nothing = (0,)
    dx = buffers.empty_like(x) if wanted[0] else buffers.empty(nothing, x.dtype, x.device)
    dz = buffers.empty_like(x, residual.dtype) if wanted[1] and residual is not None else buffers.empty(nothing, x.dtype, x.device)
    parameters = (
        buffers.empty((x.shape[1],) if needed and parameter is not None else nothing, (x if parameter is None else parameter).dtype, x.device)
        for parameter, needed in zip((weight, bias), wanted[2:], strict=True)
    )
    return dx, dz, *parameters


def _run_backward(
    sources: launch.Sources, dx: Tensor | None, dz: Tensor | None, dweight: Tensor | None, dbias: Tensor | None, *, batch_statistics: bool
) -> None:
    """Write the gradients that have a place."""
    x = sources.x
    if not batch_statistics:
        if dweight is not None or dbias is not None:
            launch.parameter_gradients(sources, sums=None, dweight=dweight, dbias=dbias, dz=dz, dx=dx)
        elif dx is not None or dz is not None:
            launch.input_gradient(sources, sums=None, dz=dz, dx=buffers.empty_like(x) if dx is None else dx)
        return
    sums = None if dx is None else buffers.empty((2, x.shape[1]), promoted(x), x.device)
    if sources.residual is not None and dz is None and dx is not None:
        # Read again instead of x's residual and dy: one tensor less in the second pass, one more in the first.
        dz = buffers.empty_like(x)
    launch.parameter_gradients(sources, sums=sums, dweight=dweight, dbias=dbias, dz=dz, dx=None)
    if dx is not None:
        launch.input_gradient(sources if dz is None else sources.activated(dz), sums=sums, dz=None, dx=dx)


@batch_norm_act_backward.register_fake
def _(  # noqa: PLR0913, PLR0917 (as the operation)
    dy: Tensor,  # noqa: ARG001
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,  # noqa: ARG001
    var: Tensor,  # noqa: ARG001
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,  # noqa: ARG001
    act: str,  # noqa: ARG001
    slope: float,  # noqa: ARG001
    batch_statistics: bool,  # noqa: ARG001, FBT001
    wanted: Sequence[bool],
) -> tuple[Tensor, ...]:
    return _results(dense(x), residual, weight, bias, wanted)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
    x, residual, mean, var, weight, bias, *rest = inputs
    # Without an activation the gradients do not depend on what was added.
    ctx.save_for_backward(x, None if rest[1] == "none" else residual, mean, var, weight, bias)
    ctx.rest = tuple(rest)


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, residual, mean, var, weight, bias = ctx.saved_tensors
    needs_x, needs_residual, _, _, needs_weight, needs_bias = ctx.needs_input_grad[:6]
    added = needs_residual and residual is None
    wanted = [needs_x, needs_residual and not added, needs_weight, needs_bias]
    found = batch_norm_act_backward(dy, x, residual, mean, var, weight, bias, *ctx.rest, wanted) if any(wanted) else (None,) * 4
    dx, dresidual, dweight, dbias = (value if needed else None for value, needed in zip(found, wanted, strict=True))
    return dx, dy if added else dresidual, None, None, dweight, dbias, None, None, None, None


batch_norm_act.register_autograd(_differentiate, setup_context=_remember)


def _remember_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG001 (torch's signature)
    dy, x, residual, mean, var, weight, bias, eps, act, slope, batch_statistics, wanted = inputs
    ctx.save_for_backward(dy, x, residual, mean, var, weight, bias)
    ctx.epilogue, ctx.batch_statistics = Epilogue(eps=eps, act=act, slope=slope), batch_statistics
    ctx.wanted = tuple(wanted)


def _differentiate_again(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
    dy, x, residual, mean, var, weight, bias = ctx.saved_tensors

    def forward(x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor]:
        return (reference.forward(x, residual, mean, var, weight, bias, ctx.epilogue, batch_statistics=ctx.batch_statistics),)

    given = tuple(gradient if needed else None for gradient, needed in zip(gradients, ctx.wanted, strict=True))
    (dx, dresidual, dweight, dbias), (ddy,) = differentiate_again(forward, (x, residual, weight, bias), (dy,), given)
    return ddy, dx, dresidual, None, None, dweight, dbias, None, None, None, None, None


batch_norm_act_backward.register_autograd(_differentiate_again, setup_context=_remember_backward)
