"""Launches the kernels of gated activations. Imported only where Triton is."""

from __future__ import annotations

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from normadvisor.fused.common.activations import promoted
from normadvisor.fused.common.triton_support import multiprocessors, on_device_of
from normadvisor.fused.gated.kernels import gated_backward_kernel, gated_forward_kernel
from normadvisor.fused.gated.launches import tile_launch
from normadvisor.fused.gated.layout import Matrix

__all__ = ["run_backward", "run_forward"]

_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}


def run_forward(gate: Tensor, up: Tensor, out: Tensor, matrix: Matrix, act: str) -> None:
    """Write ``act(gate) * up`` into ``out``.

    Args:
        gate: as ``matrix`` says.
        up: as ``matrix`` says.
        out: rows one behind the other.
        matrix: not empty.
        act: name of an activation.

    """
    _launch(gated_forward_kernel, "forward", (gate, up, out), matrix, (matrix.gate_distance, matrix.up_distance), act)


def run_backward(
    tensors: tuple[Tensor, Tensor, Tensor], gradients: tuple[Tensor, Tensor], matrix: Matrix, distances: tuple[int, int], act: str
) -> None:
    """Write the gradients of gate and up.

    Args:
        tensors: gradient of the result, rows one behind the other; gate and up, as ``matrix`` says.
        gradients: of gate and up.
        matrix: not empty.
        distances: of the rows of both gradients, in elements.
        act: name of an activation.

    """
    everything = matrix.gate_distance, matrix.up_distance, *distances
    _launch(gated_backward_kernel, "backward", (*tensors, *gradients), matrix, everything, act)


def _launch(kernel: Any, way: str, tensors: tuple[Tensor, ...], matrix: Matrix, distances: tuple[int, ...], act: str) -> None:
    """Launch over all tiles of the matrix; ``distances`` are those of the rows that are not one behind the other."""
    accumulator = promoted(*tensors)
    chosen = tile_launch(way, matrix.rows, matrix.columns, distances, accumulator, multiprocessors(tensors[0].device))
    with on_device_of(tensors[0]):
        kernel[(chosen.tiles,)](
            *tensors,
            matrix.rows,
            matrix.columns // chosen.unit,
            chosen.strips,
            *(distance // chosen.unit for distance in distances),
            ACT=act,
            ACCUMULATOR=_TYPES[accumulator],
            UNIT=chosen.unit,
            BLOCK_ROWS=chosen.height,
            BLOCK_COLUMNS=chosen.width,
            num_warps=chosen.num_warps,
            enable_fp_fusion=True,
        )
