"""Every kernel, as it is launched for the shapes of real models, compiles for GPUs of three generations: without a GPU, and without spills."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.group_norm.ops import group_norm_act_backward_op, group_norm_act_op

UNET, VAE, SMALL, LAYER = (8, 320, 64, 64), (1, 128, 512, 512), (16, 1280, 8, 8), (64, 256, 56, 56)
GROUPED = {"grouped_forward", "grouped_backward", "finish_sums"}
SPLIT = {"split_statistics", "combine_statistics", "split_apply", "split_sums", "finish_sums", "split_gradient"}


def launches(compile_launches, shape, dtype, *, groups=32, last=False, act="silu", capability=90):
    x = torch.empty(shape, dtype=dtype, device="meta")
    if last:
        x = torch.empty((shape[0], *shape[2:], shape[1]), dtype=dtype, device="meta").movedim(-1, 1)
    weight = torch.empty(shape[1], dtype=dtype, device="meta")

    def run():
        y, statistics = group_norm_act_op._init_fn(x, groups, weight, weight, 1e-5, act, 0.01, None)
        group_norm_act_backward_op._init_fn(y, x, groups, weight, weight, statistics, 1e-5, act, 0.01, True)

    return compile_launches(run, capability)


@pytest.mark.parametrize(
    ("shape", "kernels", "last", "capability"),
    [
        (SMALL, GROUPED, True, 80),
        (SMALL, GROUPED, False, 100),
        (VAE, SPLIT, False, 90),
        (VAE, SPLIT, True, 100),
    ],
)
def test_generations(compile_launches, shape, kernels, last, capability):
    built = launches(compile_launches, shape, torch.bfloat16, last=last, capability=capability)
    assert {one.kernel for one in built} == kernels
    assert [one for one in built if one.compiled.spills] == []
    assert {one.kernel: one.compiled.load for one in built if one.kernel not in {"combine_statistics", "finish_sums"}} == dict.fromkeys(
        kernels - {"combine_statistics", "finish_sums"}, 16
    )


@pytest.mark.parametrize(
    ("shape", "groups", "dtype", "last"),
    [
        (UNET, 32, torch.float32, True),
        ((16, 640, 32, 32), 32, torch.bfloat16, False),
        (LAYER, 1, torch.float32, False),
        (LAYER, 256, torch.float64, True),
        ((64, 2048, 7, 7), 2048, torch.float16, True),
        ((3, 10, 13, 11), 5, torch.float64, False),
    ],
)
def test_shapes(compile_launches, shape, groups, dtype, last):
    built = launches(compile_launches, shape, dtype, groups=groups, last=last)
    assert [one for one in built if one.compiled.spills] == []
    # At least one program fits onto a multiprocessor, which has so many registers.
    assert [one for one in built if one.compiled.registers * one.num_warps * 32 > 65536] == []


@pytest.mark.parametrize("act", ["leaky_relu", "gelu", "mish"])
def test_activations(compile_launches, act):
    assert [one for one in launches(compile_launches, SMALL, torch.float16, act=act) if one.compiled.spills] == []


def test_no_setting_is_rounded_to_float32(compile_launches):
    # Numbers that are not whole are constants: Triton passes arguments as float32.
    for shape in (SMALL, VAE):
        settings = [{type(value) for value in one.arguments.values()} for one in launches(compile_launches, shape, torch.float64, act="leaky_relu")]
        assert [float in kinds for kinds in settings] == [False] * len(settings)


def test_large_tensors_do_not_overflow(compile_launches):
    shape = (3, 128, 4096, 4096)
    assert torch.Size(shape).numel() > 2**32
    built = launches(compile_launches, shape, torch.bfloat16)
    assert {one.kernel for one in built} == SPLIT
    assert [one for one in built if one.compiled.spills] == []
