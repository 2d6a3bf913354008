"""Layers written out by hand, and the attributes that rules read of everything that is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import look_for_written, trace
from normadvisor.graph.written import written_by
from normadvisor.targets.inputs.spec import Inputs


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Fused(nn.Module):
    def forward(self, x):
        return F.silu(x)


class More(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x) + 1


class Deciding(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * torch.sigmoid(x)
        return x


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), 1e-6

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class NewGELU(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def test_a_layer_that_is_one_function_and_nothing_else():
    found = {cls.__name__: written_by(cls(), (2, 8)) for cls in (Swish, Fused, More, Deciding, NewGELU)}
    assert {name: item and (item.function, dict(item.arguments), item.operations) for name, item in found.items()} == {
        "Swish": ("torch.nn.functional.silu", {}, 2), "Fused": None, "More": None, "Deciding": None,
        "NewGELU": ("torch.nn.functional.gelu", {"approximate": "tanh"}, 8),
    }  # fmt: skip


class GemmaNorm(RMSNorm):
    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight.float())
        return y.type_as(x)


def test_a_layer_may_compute_in_single_precision_with_a_weight_that_it_computes():
    found = written_by(GemmaNorm(8), (2, 5, 8))
    assert found is not None
    assert (found.op, found.inputs["input"].target, found.inputs["weight"].name, found.arguments["eps"]) == ("rms_norm", "float", "add_1", 1e-6)


def test_parameters_are_operands_and_the_layer_stays_as_it_was():
    norm = RMSNorm(8)
    before = dict(vars(norm))
    found = written_by(norm, (2, 5, 8))
    assert found is not None
    assert (found.op, {role: node.target for role, node in found.inputs.items()}) == ("rms_norm", {"input": "x", "weight": "weight"})
    assert (found.arguments["eps"], found.arguments["normalized_shape"]) == (1e-6, [8])
    assert vars(norm) == before


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.act, self.norm, self.own = nn.Linear(8, 8), Swish(), RMSNorm(8), nn.LayerNorm(8)
        self.last = Fused()

    def forward(self, x):
        x = self.own(self.norm(self.act(self.fc(x))))
        x = self.fc(x)
        mean = x.mean(-1, keepdim=True)
        x = (x - mean) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)
        y = self.fc(x)
        std = y.std(-1, keepdim=True)
        return self.last((y - y.mean(-1, keepdim=True)) / (std + 1e-6))


def test_rules_read_what_is_computed_by_hand():
    net = Net()
    graph = trace(net, Inputs((torch.randn(2, 5, 8),), given=True), target="net", sites={})
    assert not any("computes" in node.attrs for node in graph.nodes)
    look_for_written(graph, net)
    keys = ("computes", "function", "operations", "eps")
    found = {node.name: tuple(node.attrs.get(key) for key in keys) for node in graph.nodes if "computes" in node.attrs and "obstacle" not in node.attrs}
    assert found == {
        "act": ("silu", "torch.nn.functional.silu", 2, None),
        "norm": ("rms_norm", "torch.nn.functional.rms_norm", 6, 1e-6),
        "truediv": ("layer_norm", "torch.nn.functional.layer_norm", 6, 1e-5),
    }
    refused = [node.attrs["obstacle"] for node in graph.nodes if "obstacle" in node.attrs]
    assert len(refused) == 1
    assert "degree" in str(refused[0]) or "deviation" in str(refused[0]) or "unbiased" in str(refused[0])


def test_a_trace_without_shapes_and_one_on_the_meta_device():
    net = Net()
    without = trace(net, None, target="net", sites={})
    look_for_written(without, net)
    assert [node.attrs.get("computes") for node in without.nodes if node.cls == "Swish"] == [None]
    with torch.device("meta"):
        model = Net()
    graph = trace(model, Inputs((torch.empty(2, 5, 8, device="meta"),), given=True), target="net", sites={})
    look_for_written(graph, model)
    assert [node.attrs["computes"] for node in graph.nodes if node.cls in {"Swish", "RMSNorm"}] == ["silu", "rms_norm"]
