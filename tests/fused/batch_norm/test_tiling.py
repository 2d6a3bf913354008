from __future__ import annotations

import pytest
import torch

from normadvisor.fused.batch_norm import tiling as tilings
from normadvisor.fused.batch_norm.layout import layout_of

pytest.importorskip("triton", reason="Triton is not installed: launches were NOT looked at")

H100 = 132
FIRST, LAST = torch.contiguous_format, torch.channels_last


def cut(kernel, shape, order, dtype=torch.bfloat16):
    x = torch.empty(shape, dtype=dtype, device="meta").contiguous(memory_format=order)
    layout = layout_of(x)
    narrow = "" if layout.alignment * x.element_size() >= 16 else ".narrow"
    parameters = tilings.launch(f"batch_norm.{kernel}.{'channels_last' if layout.channels_last else 'channels_first'}.{x.element_size()}{narrow}")
    return tilings._cut(kernel, layout, x.element_size(), parameters, H100)


@pytest.mark.parametrize(
    ("kernel", "shape", "order", "expected"),
    [
        ("statistics", (128, 64, 112, 112), FIRST, (4, 1024, 16, 1024)),
        ("statistics", (128, 64, 112, 112), LAST, (64, 64, 1024, 1024)),
        ("statistics", (128, 2048, 7, 7), FIRST, (16, 64, 1, 2048)),
        ("statistics", (128, 2048, 7, 7), LAST, (64, 64, 33, 1056)),
        ("statistics", (128, 16, 112, 112), LAST, (256, 16, 1024, 1024)),
        ("gradients", (32, 256, 56, 56), FIRST, (4, 512, 4, 1024)),
        ("gradients", (32, 256, 56, 56), LAST, (32, 64, 264, 1056)),
        ("gradients", (64, 1000), FIRST, (32, 64, 2, 32)),
        ("gradients", (2, 3, 5), FIRST, (2, 8, 1, 3)),
    ],
)
def test_reductions_fill_the_gpu(kernel, shape, order, expected):
    found = cut(kernel, shape, order)
    assert (found.arguments["BLOCK_ROWS"], found.arguments["BLOCK_COLUMNS"], found.splits, found.programs) == expected


@pytest.mark.parametrize(
    ("kernel", "shape", "order", "expected"),
    [
        ("apply", (128, 64, 112, 112), FIRST, (4, 1024, 1, 26624)),
        ("apply", (128, 64, 112, 112), LAST, (64, 64, 4, 6272)),
        ("apply", (128, 2048, 7, 7), FIRST, (16, 64, 1, 16384)),
        ("apply", (128, 2048, 7, 7), LAST, (16, 256, 2, 1568)),
        ("input_gradient", (1, 1, 4096, 4096), FIRST, (1, 2048, 1, 8192)),
        ("input_gradient", (2, 3, 5), FIRST, (8, 8, 1, 1)),
    ],
)
def test_passes_cover_the_tensor(kernel, shape, order, expected):
    found = cut(kernel, shape, order)
    arguments = found.arguments
    assert (arguments["BLOCK_ROWS"], arguments["BLOCK_COLUMNS"], arguments["STEPS"], found.programs) == expected


@pytest.mark.parametrize("shape", [(128, 64, 112, 112), (128, 2048, 7, 7), (256, 960, 7, 7), (8, 320, 64, 64), (512, 24, 56, 56)])
@pytest.mark.parametrize("order", [FIRST, LAST], ids=["first", "last"])
@pytest.mark.parametrize(("kernel", "entries"), [("statistics", 3), ("gradients", 2)])
def test_partial_results_are_few(shape, order, kernel, entries):
    found = cut(kernel, shape, order)
    assert entries * 4 * found.splits / (found.count * 2) < 0.06


def test_a_tiling_is_made_once():
    x = torch.empty(4, 8, 6, 6)
    assert tilings.tiling("apply", x) is tilings.tiling("apply", torch.empty(4, 8, 6, 6))
