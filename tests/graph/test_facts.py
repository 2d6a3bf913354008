from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.graph.facts import add_facts
from normadvisor.graph.model import NodeInfo


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.linear, self.other = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 6), nn.Conv2d(6, 6, 1)
        self.act, self.function = nn.ReLU(), function

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "axis", "origin"),
    [
        (lambda m, x: m.conv(x), 1, "conv"),
        (lambda m, x: m.act(m.conv(x)) * 2, 1, "conv"),
        (lambda m, x: m.conv(x).permute(0, 2, 3, 1), 3, "conv"),
        (lambda m, x: m.conv(x).flatten(2).transpose(1, 2), 2, "conv"),
        (lambda m, x: m.conv(x).flatten(2), 1, "conv"),
        (lambda m, x: m.conv(x).mean((2, 3)), 1, "conv"),
        (lambda m, x: m.conv(x).mean((2, 3), keepdim=True).flatten(1), 1, "conv"),
        (lambda m, x: m.conv(x).mean(1), None, None),
        (lambda m, x: m.conv(x).flatten(1), None, None),
        (lambda m, x: m.linear(m.conv(x).permute(0, 2, 3, 1)), 3, "linear"),
        (lambda m, x: m.linear(m.conv(x).movedim(1, -1)).movedim(-1, 1) + m.conv(x), 1, "linear"),
        (lambda m, x: m.linear(m.conv(x).movedim(1, -1)) + m.conv(x).reshape(2, 4, 4, 6), None, None),
        (lambda m, x: torch.cat([m.conv(x), m.conv(x)], 1), 1, "conv"),
        (lambda m, x: x * 2, None, None),
    ],
)
def test_axis_of_the_features(follow, function, axis, origin):
    last = follow(Calls(function), torch.zeros(2, 3, 4, 4)).nodes[-2]
    assert (last.channel_axis, last.channel_origin) == (axis, origin)


@pytest.mark.parametrize(
    ("function", "residual"),
    [
        (lambda m, x: (y := m.conv(x)) + m.act(m.other(y)), True),
        (lambda m, x: m.act(m.other(y := m.conv(x))) + m.conv(x) * 0 + y, True),
        (lambda m, x: m.other(y := m.act(m.conv(x))) + m.act(m.other(m.act(m.other(y)))), True),
        (lambda m, x: m.act(m.conv(x)) + m.act(m.conv(x)), False),
        (lambda m, x: m.conv(x) + 1, False),
    ],
)
def test_residual_joins(follow, function, residual):
    adds = [node for node in follow(Calls(function), torch.zeros(2, 3, 4, 4)).nodes if node.op == "add"]
    assert adds[-1].is_residual is residual


def test_what_leaves_the_model(follow):
    graph = follow(Calls(lambda m, x: m.act(m.conv(x)).flatten(1).contiguous()), torch.zeros(2, 3, 4, 4))
    assert [node.reaches_output for node in graph.nodes] == [False, False, True, True, True, False]


def test_depth_is_that_of_the_longest_path(follow):
    graph = follow(Calls(lambda m, x: m.other(m.other(m.conv(x))) + m.conv(x)), torch.zeros(2, 3, 4, 4))
    assert graph.facts == {"parameters": 168 + 42 + 42, "weight_layers": 3, "has_residual": False}
    assert [node.calls for node in graph.nodes if node.op == "conv"] == [2, 2, 2, 2]


def test_a_long_chain_takes_linear_time():
    nodes = [NodeInfo(index=0, name="x", op="input")]
    for index in range(1, 30_000, 3):
        nodes.append(NodeInfo(index=index, name="c", op="conv", inputs=(index - 1,)))
        nodes.append(NodeInfo(index=index + 1, name="r", op="relu", inputs=(index,)))
        nodes.append(NodeInfo(index=index + 2, name="a", op="add", inputs=(index + 1, index - 1)))
    facts = add_facts(nodes)
    assert facts == {"weight_layers": 10_000, "has_residual": True}
    assert all(node.is_residual for node in nodes if node.op == "add")
