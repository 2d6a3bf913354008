from __future__ import annotations

import pytest
import torch

from normadvisor.fused.batch_norm.functional import _why_not_shape
from normadvisor.fused.batch_norm.layout import Layout, layout_of
from normadvisor.fused.common.memory_format import dense
from normadvisor.fused.common.rows import block


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.empty(2, 6, 4, 4), Layout(batch=2, channels=6, spatial=16, channels_last=False)),
        (torch.empty(2, 6, 4, 4).to(memory_format=torch.channels_last), Layout(batch=2, channels=6, spatial=16, channels_last=True)),
        (torch.empty(2, 4, 6).transpose(1, 2), Layout(batch=2, channels=6, spatial=4, channels_last=True)),
        (torch.empty(5, 6), Layout(batch=5, channels=6, spatial=1, channels_last=True)),
        (torch.empty(5, 6, 1, 1), Layout(batch=5, channels=6, spatial=1, channels_last=True)),
        (torch.empty(5, 1, 3), Layout(batch=1, channels=1, spatial=15, channels_last=False)),
        (torch.empty(5, 1), Layout(batch=1, channels=1, spatial=5, channels_last=False)),
        # More entries than 32 bits count: a row for each sample.
        (torch.empty(16, 1, 512, 512, 512, device="meta"), Layout(batch=16, channels=1, spatial=2**27, channels_last=False)),
    ],
)
def test_the_layout_of_dense_tensors(tensor, expected):
    assert (dense(tensor) is tensor, layout_of(tensor)) == (True, expected)


def test_channels_that_32_bits_cannot_count_are_left_to_torch():
    assert _why_not_shape(torch.empty(1, 4, 2**31, device="meta"), [], None) == "a channel of a sample has 2147418112 entries or more"
    assert _why_not_shape(torch.empty(16, 1, 2**27, device="meta"), [], None) == ""


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(batch=2, channels=6, spatial=49, channels_last=False), (98, 12, 49, 1)),
        (Layout(batch=2, channels=24, spatial=196, channels_last=False), (392, 48, 196, 4)),
        (Layout(batch=2, channels=24, spatial=196, channels_last=True), (392, 392, 24, 8)),
        (Layout(batch=3, channels=64, spatial=1, channels_last=True), (3, 3, 64, 16)),
    ],
)
def test_what_follows_from_a_layout(layout, expected):
    assert (layout.count, layout.rows, layout.columns, layout.alignment) == expected


@pytest.mark.parametrize(
    ("extent", "largest", "smallest", "expected"),
    [(3136, 1024, 128, 512), (12544, 1024, 128, 1024), (784, 1024, 128, 128), (49, 1024, 128, 64), (196, 1024, 128, 256), (1, 256, 32, 1), (96, 256, 32, 32), (24, 256, 32, 32), (2048, 256, 32, 256)],
)
def test_widths_of_tiles(extent, largest, smallest, expected):
    assert block(extent, largest=largest, smallest=smallest) == expected
