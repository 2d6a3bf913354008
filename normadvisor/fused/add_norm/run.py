"""Launches the kernels of add + norm. Imported only where Triton is."""

from __future__ import annotations

import torch
import triton.language as tl
from torch import Tensor

from normadvisor.fused.add_norm.backward_kernels import add_norm_long_rows_backward, add_norm_rows_backward, parameter_sums, sum_partials
from normadvisor.fused.add_norm.forward_kernels import add_norm_long_rows, add_norm_rows
from normadvisor.fused.add_norm.launches import RowLaunch, backward_launch, forward_launch, partial_programs
from normadvisor.fused.add_norm.layout import Rows
from normadvisor.fused.common import buffers
from normadvisor.fused.common.launch import launch
from normadvisor.fused.common.triton_support import multiprocessors, on_device_of

__all__ = ["run_backward", "run_forward"]

_Tensors = tuple[Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None, Tensor]
_Gradients = tuple[Tensor, Tensor | None, Tensor | None]
_Partials = tuple[Tensor | None, Tensor | None]
_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
_STRIP = 32
"""Columns that a program sums partial results of: one 128-byte line of float32."""
_WIDE_STRIP = 128
"""Columns of a strip of long rows: 256 bytes of a row of bfloat16."""


def run_forward(
    inputs: Rows,
    parameters: tuple[Tensor | None, Tensor | None],
    outputs: tuple[Tensor, Tensor, Tensor | None, Tensor],
    eps: float,
    columns: int,
) -> None:
    """Compute ``out``, ``total``, ``mean`` and ``rstd``.

    Args:
        inputs: as :func:`~normadvisor.fused.add_norm.layout.rows_of` gave them.
        parameters: weight and bias, contiguous.
        outputs: ``out`` and ``total``, rows one behind the other in the order of the inputs; if ``total`` is empty it is not written.
            ``mean`` and ``rstd`` have one entry for each row, in the dtype in which the kernels compute; ``mean`` is ``None`` for RMSNorm.
        eps: added to the variance.
        columns: length of a row.

    """
    x, residual, x_distance, residual_distance = inputs
    rows = x.numel() // columns
    accumulator = outputs[3].dtype
    chosen = forward_launch(rows, columns, accumulator, multiprocessors(x.device))
    constants = {
        "EPS": eps,
        "COLUMNS": columns,
        "X_DISTANCE": x_distance,
        "RESIDUAL_DISTANCE": residual_distance,
        "STORE_TOTAL": outputs[1].numel() > 0,
        "ACCUMULATOR": _TYPES[accumulator],
        "BLOCK_COLUMNS": chosen.block,
        "num_warps": chosen.launch.num_warps,
        "enable_fp_fusion": True,
    }
    with on_device_of(x):
        if chosen.whole:
            grid = (-(-rows // chosen.height),)
            add_norm_rows[grid](x, residual, *parameters, *outputs, rows, BLOCK_ROWS=chosen.height, **constants)
        else:
            add_norm_long_rows[(rows,)](x, residual, *parameters, *outputs, **constants)


def run_backward(tensors: _Tensors, outputs: _Gradients, columns: int) -> None:
    """Compute the gradient of the inputs and, where they are not ``None``, of weight and bias.

    Args:
        tensors: ``d_out``, ``d_total`` (``None``: zero), ``total`` in the same strides, weight, ``mean``, ``rstd`` as forward wrote them.
        outputs: gradients of the inputs, the weight and the bias.
        columns: length of a row.

    """
    total, rstd = tensors[2], tensors[5]
    rows = total.numel() // columns
    wanted = outputs[1] is not None or outputs[2] is not None
    chosen = backward_launch(rows, columns, (total.dtype, rstd.dtype), multiprocessors(total.device), sums=wanted)
    with on_device_of(total):
        if chosen.whole:
            tiles = -(-rows // chosen.height)
            programs = partial_programs(tiles, chosen.launch.programs, multiprocessors(total.device)) if chosen.sums else tiles
            partials = _partials(outputs, programs, columns, rstd) if chosen.sums else (None, None)
            _launch_rows(tensors, (outputs[0], *partials), programs, columns, chosen)
        else:
            add_norm_long_rows_backward[(rows,)](
                *tensors,
                outputs[0],
                COLUMNS=columns,
                ACCUMULATOR=_TYPES[rstd.dtype],
                BLOCK_COLUMNS=chosen.block,
                num_warps=chosen.launch.num_warps,
                enable_fp_fusion=True,
            )
        if wanted and not chosen.sums:
            partials = _launch_parameter_sums(tensors, outputs, rows, columns)
        if wanted:
            _launch_sum_partials(partials, outputs, columns)


def _partials(outputs: _Gradients, programs: int, columns: int, rstd: Tensor) -> _Partials:
    weight, bias = (None if output is None else buffers.empty((programs, columns), rstd.dtype, rstd.device) for output in outputs[1:])
    return weight, bias


def _launch_rows(tensors: _Tensors, outputs: _Gradients, programs: int, columns: int, chosen: RowLaunch) -> None:
    add_norm_rows_backward[(programs,)](
        *tensors,
        *outputs,
        tensors[2].numel() // columns,
        COLUMNS=columns,
        ACCUMULATOR=_TYPES[tensors[5].dtype],
        BLOCK_ROWS=chosen.height,
        BLOCK_COLUMNS=chosen.block,
        STAGES=chosen.launch.num_stages,
        num_warps=chosen.launch.num_warps,
        enable_fp_fusion=True,
    )


def _launch_parameter_sums(tensors: _Tensors, outputs: _Gradients, rows: int, columns: int) -> _Partials:
    d_out, _, total, _, mean, rstd = tensors
    parameters = launch("add_norm.parameters")
    height = max(1, parameters.tile // _WIDE_STRIP)
    strips = -(-columns // _WIDE_STRIP)
    most = -(-parameters.programs * multiprocessors(total.device) // strips)
    shares = max(1, min(-(-rows // height), most))
    partials = _partials(outputs, shares, columns, rstd)
    parameter_sums[(strips, shares)](
        d_out,
        total,
        mean,
        rstd,
        *partials,
        rows,
        COLUMNS=columns,
        ACCUMULATOR=_TYPES[rstd.dtype],
        BLOCK_ROWS=height,
        BLOCK_COLUMNS=_WIDE_STRIP,
        STAGES=parameters.num_stages,
        num_warps=parameters.num_warps,
        enable_fp_fusion=True,
    )
    return partials


def _launch_sum_partials(partials: _Partials, outputs: _Gradients, columns: int) -> None:
    parameters = launch("add_norm.sum_partials")
    count = next(partial.shape[0] for partial in partials if partial is not None)
    sum_partials[(-(-columns // _STRIP),)](
        *partials,
        *outputs[1:],
        count,
        COLUMNS=columns,
        BLOCK_PARTIALS=max(1, parameters.tile // _STRIP),
        BLOCK_COLUMNS=_STRIP,
        num_warps=parameters.num_warps,
        enable_fp_fusion=True,
    )
