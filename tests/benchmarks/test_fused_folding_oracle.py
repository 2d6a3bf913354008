from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.fused.folding_oracle import legal


class Net(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.conv, self.other, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn, self.bn2, self.bn8 = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(8)
        self.drop = nn.Dropout()
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


CASES = {
    "behind": (lambda m, x: m.bn(m.conv(x)), {"bn": "behind"}),
    "dropout between": (lambda m, x: m.bn(m.drop(m.conv(x))), {"bn": "behind"}),
    "reshaped between": (lambda m, x: m.bn(m.conv(x).flatten(2).unsqueeze(3)), {"bn": "behind"}),
    "relu between": (lambda m, x: m.bn(m.conv(x).relu()), {}),
    "sigmoid beside": (lambda m, x: m.bn(m.conv(x) * x.sigmoid()), {}),
    "used twice": (lambda m, x: (y := m.conv(x)) + m.bn(y), {}),
    "also given": (lambda m, x: (y := m.conv(x), m.bn(y)), {}),
    "one behind another": (lambda m, x: m.bn2(m.bn(m.conv(x))), {"bn": "behind", "bn2": "behind"}),
    "sum of layers": (lambda m, x: m.bn(m.conv(x) + m.other(x)), {"bn": "behind"}),
    "sum with the input": (lambda m, x: m.bn(m.conv(x) + x), {}),
    "side by side": (lambda m, x: m.bn8(torch.cat((m.conv(x), m.other(x)), 1)), {"bn8": "behind"}),
    "side by side with the input": (lambda m, x: m.bn8(torch.cat((m.conv(x), x), 1)), {}),
    "parts": (lambda m, x: torch.cat([m.bn(y) for y in m.conv(torch.cat((x, x), 2)).split(6, 2)], 2), {"bn": "behind"}),
    "slices": (lambda m, x: ((y := m.conv(x)), m.bn(y[:, :, :2]) + m.bn2(y[:, :, 2:4]))[1], {"bn": "behind", "bn2": "behind"}),
    "slices that share": (lambda m, x: ((y := m.conv(x)), m.bn(y[:, :, :3]) + m.bn2(y[:, :, 1:4]))[1], {}),
    "ahead": (lambda m, x: m.conv(m.bn(x)), {"bn": "ahead"}),
    "ahead of two": (lambda m, x: ((y := m.bn(x)), m.conv(y) * m.other(y))[1], {"bn": "ahead"}),
    "ahead of padding": (lambda m, x: m.wide(m.bn(x)), {}),
    "ahead of a layer and a sum": (lambda m, x: ((y := m.bn(x)), m.conv(y) + y)[1], {}),
    "layer that runs twice": (lambda m, x: m.bn(m.conv(x)) * m.conv(x.relu()), {}),
    "both run twice": (lambda m, x: m.bn(m.conv(x)) * m.bn(m.conv(x.relu())), {"bn": "behind"}),
    "norm that runs twice": (lambda m, x: m.bn(m.conv(x)) * m.bn(x.relu()), {}),
    "beside a convolution": (lambda m, x: ((y := x.relu()), m.bn(m.wide(y)) + m.bn2(y))[1], {"bn": "behind", "bn2": "beside"}),
    "beside one of something else": (lambda m, x: m.bn(m.wide(x.relu())) + m.bn2(x.tanh()), {"bn": "behind"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_judges(name):
    forward, expected = CASES[name]
    assert legal(Net(forward).eval(), (torch.randn(2, 4, 6, 6),)) == expected


def test_the_statistics_of_the_batch_are_no_fixed_numbers():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    assert legal(model.train(), (torch.randn(2, 4, 6, 6),)) == {}
    assert legal(model.eval(), (torch.randn(2, 4, 6, 6),)) == {"1": "behind"}
