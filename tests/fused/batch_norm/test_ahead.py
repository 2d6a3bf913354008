"""All kernels, compiled for GPUs that need not be there, in the sizes in which layers of a ResNet would launch them."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.batch_norm.tiling import tiling

pytest.importorskip("triton", reason="Triton is not installed: kernels were NOT compiled")

TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
LIKE_X = ("x_ptr", "y_ptr", "residual_ptr", "dy_ptr", "dz_ptr", "dx_ptr")
ALIGNED, NARROW = (32, 256, 56, 56), (32, 509, 7, 7)


def signature(kernel, dtype, constants):
    wide = "fp64" if dtype == torch.float64 else "fp32"
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            continue
        if name.endswith("_ptr"):
            types[name] = "*i64" if name == "batches_ptr" else f"*{TYPES[dtype] if name in LIKE_X else wide}"
        else:
            types[name] = "fp32" if name.startswith("momentum") else "i32"
    return types


@pytest.mark.parametrize(
    ("capability", "dtype", "shape", "order"),
    [
        (80, torch.bfloat16, ALIGNED, "first"),
        (90, torch.bfloat16, ALIGNED, "last"),
        (90, torch.bfloat16, NARROW, "first"),
        (100, torch.bfloat16, NARROW, "last"),
        (90, torch.float32, ALIGNED, "first"),
        (100, torch.float32, ALIGNED, "last"),
        (80, torch.float32, NARROW, "first"),
        (90, torch.float64, ALIGNED, "first"),
    ],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_nothing_spills(compile_ahead, capability, dtype, shape, order):
    from normadvisor.fused.batch_norm import kernels

    x = torch.empty(shape, dtype=dtype, device="meta")
    if order == "last":
        x = x.to(memory_format=torch.channels_last)
    end = {"EPS": 1e-5, "SLOPE": 0.01, "ACT": "gelu"}
    kept = {"mean_ptr": None, "var_ptr": None, "running_mean_ptr": None, "running_var_ptr": None, "batches_ptr": None}
    given = {"sums_ptr": None, "dweight_ptr": None, "dbias_ptr": None}
    jobs = [
        (kernels.statistics_kernel, "statistics", {"SPLIT": True, **kept}),
        (kernels.statistics_kernel, "statistics", {"SPLIT": False, "partial_ptr": None, "batches_ptr": None}),
        (kernels.apply_kernel, "apply", end),
        (kernels.gradients_kernel, "gradients", {"SPLIT": True, "dx_ptr": None, **given, **end}),
        (kernels.input_gradient_kernel, "input_gradient", {"dz_ptr": None, **end}),
    ]

    spills = {}
    for kernel, name, more in jobs:
        arguments = tiling(name, x).arguments
        constants = {**{key: value for key, value in arguments.items() if key.isupper()}, **more}
        types = signature(kernel, dtype, constants)
        options = {"capability": capability, "num_warps": arguments["num_warps"], "num_stages": arguments["num_stages"]}
        built = compile_ahead(kernel, types, constants, aligned=tuple(key for key in types if key.endswith("_ptr")), **options)
        spills[kernel.__name__, built.registers] = built.spills

    assert {name: spilled for name, spilled in spills.items() if spilled} == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("splits", "channels"), [(2, 16), (256, 16), (1024, 4)])
def test_nothing_spills_where_splits_are_combined(compile_ahead, dtype, splits, channels):
    from normadvisor.fused.batch_norm import kernels

    spills = []
    for kernel in (kernels.combine_statistics_kernel, kernels.combine_gradients_kernel):
        constants = {"BLOCK_SPLITS": splits, "BLOCK_CHANNELS": channels}
        spills.append(compile_ahead(kernel, signature(kernel, dtype, constants), constants).spills)
    assert spills == [0, 0]
