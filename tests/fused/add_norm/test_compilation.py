"""The kernels compile for GPUs that are not here: nothing is spilled, and rows are read 16 bytes at a time where their length allows it."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.add_norm.layout import rows_of


def forward(rows, columns, dtype, parameters=None, center=True):
    from normadvisor.fused.add_norm.run import run_forward

    x, residual, out, total = (torch.empty(rows, columns, dtype=dtype, device="meta") for _ in range(4))
    weight, bias = (torch.empty(columns, dtype=parameters or dtype, device="meta") for _ in range(2))
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    mean, rstd = (torch.empty(rows, dtype=accumulator, device="meta") for _ in range(2))
    run_forward(rows_of(x, residual, 1), (weight, bias if center else None), (out, total, mean if center else None, rstd), 1e-5, columns)


def backward(rows, columns, dtype, parameters=None, center=True, frozen=False):
    from normadvisor.fused.add_norm.run import run_backward

    d_out, d_total, total, d_input = (torch.empty(rows, columns, dtype=dtype, device="meta") for _ in range(4))
    weight, d_weight, d_bias = (torch.empty(columns, dtype=parameters or dtype, device="meta") for _ in range(3))
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    mean, rstd = (torch.empty(rows, dtype=accumulator, device="meta") for _ in range(2))
    gradients = (d_input, None, None) if frozen else (d_input, d_weight, d_bias if center else None)
    run_backward((d_out, d_total, total, weight, mean if center else None, rstd), gradients, columns)


REGIMES = [(columns, torch.bfloat16) for columns in (256, 2048, 8192, 16384, 65536)] + [(columns, torch.float32) for columns in (8192, 32768, 65536)]


def spilled(launches):
    """Kernels that spill more than a register or two, which some versions of the assembler save though there are plenty."""
    return {one.kernel: one.compiled.spills for one in launches if one.compiled.spills > 16}


@pytest.mark.parametrize(("columns", "dtype"), REGIMES, ids=str)
def test_nothing_is_spilled(columns, dtype, compile_launches):
    launches = compile_launches(lambda: (forward(8192, columns, dtype), backward(8192, columns, dtype)))
    assert spilled(launches) == {}
    names = [one.kernel for one in launches]
    forwards = "add_norm_rows" if columns <= 32768 else "add_norm_long_rows"
    if columns <= 8192:
        assert names == [forwards, "add_norm_rows_backward", "sum_partials"]
    else:
        backwards = "add_norm_rows_backward" if columns <= 16384 and dtype == torch.bfloat16 else "add_norm_long_rows_backward"
        assert names == [forwards, backwards, "parameter_sums", "sum_partials"]


@pytest.mark.parametrize("capability", [80, 100])
def test_other_generations(capability, compile_launches):
    def run():
        forward(64, 4096, torch.float16)
        backward(64, 4096, torch.float16)
        backward(64, 40000, torch.float16)

    launches = compile_launches(run, capability)
    assert (len(launches), spilled(launches)) == (6, {})


@pytest.mark.parametrize(("columns", "dtype", "width"), [(1000, torch.bfloat16, 16), (1000, torch.float32, 16), (1002, torch.bfloat16, 4), (33, torch.float32, 4)])
def test_rows_are_read_in_words_as_wide_as_their_length_allows(columns, dtype, width, compile_launches):
    assert compile_launches(lambda: forward(8192, columns, dtype))[0].compiled.load == width


@pytest.mark.parametrize("columns", [768, 40000])
def test_variants(columns, compile_launches):
    def run():
        # Autocast: half precision in, parameters in float32. RMSNorm. Frozen parameters.
        forward(64, columns, torch.float16, torch.float32)
        backward(64, columns, torch.float16, torch.float32)
        forward(64, columns, torch.bfloat16, center=False)
        backward(64, columns, torch.bfloat16, center=False)
        backward(64, columns, torch.bfloat16, frozen=True)

    assert spilled(compile_launches(run)) == {}


@pytest.mark.parametrize("columns", [768, 40000])
def test_float64_compiles(columns, compile_launches):
    launches = compile_launches(lambda: (forward(64, columns, torch.float64), backward(64, columns, torch.float64)))
    # Division and square roots of float64 are subroutines; a register or two may be saved around them.
    assert [one.compiled.spills <= 64 for one in launches] == [True] * len(launches)
