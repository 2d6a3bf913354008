"""The kernels compile for GPUs that are not here: nothing is spilled, and 16 bytes are read at a time where sizes allow it."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.gated.layout import matrix_of, split_of

ACTS = ("silu", "gelu", "gelu_tanh", "mish")


def flat(shape, dtype, act):
    from normadvisor.fused.gated.run import run_backward, run_forward

    gate, up, out, d_gate, d_up = (torch.empty(shape, dtype=dtype, device="meta") for _ in range(5))
    matrix = matrix_of(gate, up)
    run_forward(gate, up, out, matrix, act)
    run_backward((out, gate, up), (d_gate, d_up), matrix, (matrix.columns, matrix.columns), act)


def packed(shape, dtype, act):
    from normadvisor.fused.gated.run import run_backward, run_forward

    x = torch.empty(shape, dtype=dtype, device="meta")
    split = split_of(x, x.dim() - 1)
    gate, up = split.halves(x, x.dim() - 1, gate_last=False)
    out = split.empty(x, x.dim() - 1)
    run_forward(gate, up, out, split.matrix, act)
    run_backward((out, gate, up), (gate, up), split.matrix, (2 * split.columns, 2 * split.columns), act)


@pytest.mark.parametrize(("act", "dtype"), [*((act, torch.bfloat16) for act in ACTS), ("gelu", torch.float32), ("gelu", torch.float64)], ids=str)
def test_nothing_is_spilled(act, dtype, compile_launches):
    launches = compile_launches(lambda: (flat((8192, 11008), dtype, act), packed((65536, 2 * 64), dtype, act), flat((99, 333), dtype, act)))
    # Exponential and division of float64 are subroutines, around which some registers are saved.
    assert [one.compiled.spills <= (64 if dtype == torch.float64 else 16) for one in launches] == [True] * 6
    assert [one.compiled.load for one in launches[:4]] == [16] * 4


@pytest.mark.parametrize("capability", [80, 100])
def test_other_generations(capability, compile_launches):
    launches = compile_launches(lambda: packed((8192, 2 * 11008), torch.float16, "gelu"), capability)
    assert [one.compiled.spills <= 16 for one in launches] == [True, True]


@pytest.mark.parametrize(("columns", "width"), [(1000, 16), (1004, 8), (1001, 2)])
def test_reads_as_wide_as_sizes_allow(columns, width, compile_launches):
    assert [one.compiled.load for one in compile_launches(lambda: packed((8191, 2 * columns), torch.bfloat16, "silu"))] == [width, width]
