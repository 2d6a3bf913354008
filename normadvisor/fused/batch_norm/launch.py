"""Launches the kernels. How they are cut into tiles and programs stands in :mod:`normadvisor.fused.batch_norm.tiling`."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from normadvisor.fused.batch_norm.plan import Epilogue, Statistics
from normadvisor.fused.batch_norm.tiling import Tiling, tiling
from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.triton_support import on_device_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sources", "apply", "input_gradient", "parameter_gradients", "statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the kernels read. Tensors like x are dense, in one order."""

    x: Tensor
    residual: Tensor | None
    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epilogue: Epilogue
    dy: Tensor | None = None

    def activated(self, dz: Tensor) -> Sources:
        """The same behind the activation, with the gradient of what is activated in the place of dy."""
        return replace(self, residual=None, dy=dz, epilogue=replace(self.epilogue, act="none"))

    @property
    def arguments(self) -> dict[str, Any]:
        """As arguments of a kernel, but for dy."""
        return {
            "x_ptr": self.x,
            "residual_ptr": self.residual,
            "mean_ptr": self.mean,
            "var_ptr": self.var,
            "weight_ptr": self.weight,
            "bias_ptr": self.bias,
            "EPS": self.epilogue.eps,
            "SLOPE": self.epilogue.slope,
            "ACT": self.epilogue.act,
        }


def _combine(kernel: Any, cut: Tiling, arguments: dict[str, Any]) -> None:
    kernel[cut.combining_programs,](**arguments, **cut.combining)


def statistics(x: Tensor, kept: Statistics) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of a dense tensor, in float32 (float64 for float64); moves running statistics, if any."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    cut = tiling("statistics", x)
    wide = promoted(x)
    mean, var = (buffers.empty((cut.channels,), wide, x.device) for _ in range(2))
    partial = buffers.empty((3, cut.splits, cut.channels), wide, x.device) if cut.splits > 1 else None
    momentum = 0.0 if kept.momentum is None else kept.momentum
    rounded = ctypes.c_float(momentum).value
    results = {
        "partial_ptr": partial,
        "mean_ptr": mean,
        "var_ptr": var,
        "running_mean_ptr": kept.running_mean,
        "running_var_ptr": kept.running_var,
        "batches_ptr": kept.batches,
        "momentum": rounded,
        "momentum_rest": momentum - rounded,
    }
    with on_device_of(x):
        kernels.statistics_kernel[cut.programs,](x, **results, **cut.arguments)
        if partial is not None:
            _combine(kernels.combine_statistics_kernel, cut, results)
    return mean, var


def apply(sources: Sources) -> Tensor:
    """Normalize, add the residual, activate."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    x = sources.x
    cut = tiling("apply", x)
    y = buffers.empty_like(x)
    with on_device_of(x):
        kernels.apply_kernel[cut.programs,](y_ptr=y, **sources.arguments, **cut.arguments)
    return y


def parameter_gradients(
    sources: Sources, *, sums: Tensor | None, dweight: Tensor | None, dbias: Tensor | None, dz: Tensor | None, dx: Tensor | None
) -> None:
    """Sum the gradients over each channel, into whichever of these is given.

    Args:
        sources: what is read.
        sums: (2, C), float32 or float64: the gradients of bias and weight, for :func:`input_gradient`.
        dweight: (C,), of any dtype.
        dbias: (C,), of any dtype.
        dz: the gradient of what is activated, like x.
        dx: the gradient of x with constant statistics, like x.

    """
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    x = sources.x
    cut = tiling("gradients", x)
    partial = buffers.empty((2, cut.splits, cut.channels), promoted(x), x.device) if cut.splits > 1 else None
    results = {"partial_ptr": partial, "sums_ptr": sums, "dweight_ptr": dweight, "dbias_ptr": dbias}
    with on_device_of(x):
        kernels.gradients_kernel[cut.programs,](
            dy_ptr=sources.dy, dz_ptr=dz, dx_ptr=dx, **sources.arguments, **results, **cut.arguments
        )
        if partial is not None:
            _combine(kernels.combine_gradients_kernel, cut, results)


def input_gradient(sources: Sources, *, sums: Tensor | None, dz: Tensor | None, dx: Tensor) -> None:
    """Write the gradient of x, through the statistics where ``sums`` of :func:`parameter_gradients` are given; and dz, if asked for."""
    from normadvisor.fused.batch_norm import kernels  # noqa: PLC0415 (Triton need not be there)

    x = sources.x
    cut = tiling("input_gradient", x)
    with on_device_of(x):
        kernels.input_gradient_kernel[cut.programs,](
            dy_ptr=sources.dy, dz_ptr=dz, dx_ptr=dx, sums_ptr=sums, count=cut.count, **sources.arguments, **cut.arguments
        )
