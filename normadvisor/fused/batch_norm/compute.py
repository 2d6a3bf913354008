"""What the operations compute: by kernels, or without them by torch's own operations. Nothing here is recorded for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from normadvisor.fused.batch_norm import launch, reference
from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.memory_format import dense, like
from normadvisor.fused.common.triton_support import why_not_triton

__all__ = ["Saved", "compute_gradients", "compute_output", "compute_statistics", "places"]

Four = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What the backward pass needs of the forward pass."""

    x: Tensor
    residual: Tensor | None
    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epilogue: Epilogue
    batch_statistics: bool
    """Whether mean and var are those of x, so that gradients go through them; else they are constants."""


def _runs(x: Tensor) -> bool:
    """Whether kernels run; that they can run on all other arguments is what :func:`normadvisor.fused.batch_norm_supported` looks at."""
    return x.numel() > 0 and not why_not_triton(x)


def compute_statistics(x: Tensor, kept: Statistics) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, in float32 (float64 for float64); moves the running statistics, if any."""
    return launch.statistics(dense(x), kept) if _runs(x) else reference.statistics(x, kept)


def _sources(given: Saved, x: Tensor, dy: Tensor | None = None) -> launch.Sources:
    return launch.Sources(
        x=x,
        residual=None if given.residual is None else like(given.residual, x),
        mean=given.mean,
        var=given.var,
        weight=given.weight,
        bias=given.bias,
        epilogue=given.epilogue,
        dy=dy,
    )


def compute_output(given: Saved) -> Tensor:
    """Normalize, add, activate."""
    x = dense(given.x)
    if _runs(x):
        return launch.apply(_sources(given, x))
    parameters = (given.mean, given.var, given.weight, given.bias)
    out = reference.forward(x, given.residual, *parameters, given.epilogue, batch_statistics=given.batch_statistics)
    return like(out, x)


def places(x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, wanted: Sequence[bool]) -> Four:
    """Uninitialised gradients of x, residual, weight and bias; those that are not wanted are empty."""
    x = dense(x)
    dx = buffers.empty_like(x) if wanted[0] else buffers.empty((0,), x.dtype, x.device)
    dz = buffers.empty_like(x, residual.dtype) if wanted[1] and residual is not None else buffers.empty((0,), x.dtype, x.device)
    dweight, dbias = (
        buffers.empty((x.shape[1] if needed and parameter is not None else 0,), (x if parameter is None else parameter).dtype, x.device)
        for parameter, needed in zip((weight, bias), wanted[2:], strict=True)
    )
    return dx, dz, dweight, dbias


def compute_gradients(dy: Tensor, given: Saved, wanted: Sequence[bool]) -> Four:
    """Gradients of x, residual, weight and bias; those that are not ``wanted`` are empty."""
    results = places(given.x, given.residual, given.weight, given.bias, wanted)
    into = [result if needed else None for result, needed in zip(results, wanted, strict=True)]
    x = dense(given.x)
    if _runs(x):
        _launch_backward(_sources(given, x, like(dy, x)), *into, batch_statistics=given.batch_statistics)
        return results
    parameters = (given.mean, given.var, given.weight, given.bias)
    found = reference.backward(dy, x, given.residual, *parameters, given.epilogue, batch_statistics=given.batch_statistics)
    for place, value in zip(into, found, strict=True):
        if place is not None:
            place.copy_(value)
    return results


def _launch_backward(
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
        # The second pass reads it in the place of dy and the residual: one tensor more to write, one less to read.
        dz = buffers.empty_like(x)
    launch.parameter_gradients(sources, sums=sums, dweight=dweight, dbias=dbias, dz=dz, dx=None)
    if dx is not None:
        launch.input_gradient(sources if dz is None else sources.activated(dz), sums=sums, dz=None, dx=dx)
