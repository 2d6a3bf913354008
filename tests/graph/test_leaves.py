from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from normadvisor.types import TraceKind

BOTH = pytest.mark.parametrize("tracer", [TraceKind.SYMBOLIC, TraceKind.EXECUTION])


class NormAct(nn.BatchNorm2d):
    """A norm and an activation in one class."""

    def __init__(self, features):
        super().__init__(features)
        self.act = nn.ReLU()

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps)
        return self.act(x)


class Plain(nn.BatchNorm2d):
    """A subclass that computes what its base does."""


@BOTH
def test_a_norm_with_an_activation_inside_is_two_operations(follow, ops, images, tracer):
    graph = follow(nn.Sequential(nn.Conv2d(3, 4, 1), NormAct(4)), images, tracer=tracer)
    assert ops(graph) == ["conv", "batch_norm", "relu"]
    norm, act = [node for node in graph.nodes if node.op in {"batch_norm", "relu"}]
    assert (norm.module, norm.cls, norm.training, norm.attrs["num_features"], norm.attrs["axes"]) == ("1", "", True, 4, [0, 2, 3])
    assert norm.attrs["expected_dims"] == [4]
    assert (act.module, act.cls) == ("1.act", "ReLU")


@BOTH
def test_a_subclass_without_forward_is_a_leaf(follow, images, tracer):
    node = follow(nn.Sequential(Plain(3)), images, tracer=tracer).nodes[1]
    assert (node.op, node.cls, node.attrs["num_features"]) == ("batch_norm", "Plain", 3)


@BOTH
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), ["weight_norm"]),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), ["spectral_norm"]),
        (lambda: weight_norm(nn.Conv2d(3, 4, 3)), ["weight_norm"]),
        (lambda: spectral_norm(nn.Conv2d(3, 4, 3)), ["spectral_norm"]),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parametrized_layers_stay_what_they_are(follow, ops, images, make, expected, tracer):
    graph = follow(nn.Sequential(make()), images, tracer=tracer)
    assert ops(graph) == ["conv"]
    node = graph.nodes[1]
    assert (node.cls, node.attrs["parametrizations"], node.attrs["out_channels"]) == ("Conv2d", expected, 4)


def test_lazy_modules_know_their_sizes_and_stay_lazy(follow, images):
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    graph = follow(model, images)
    conv, norm, _, _, linear = graph.nodes[1:6]
    assert (conv.op, conv.attrs["in_channels"], norm.attrs["num_features"], linear.attrs["in_features"]) == ("conv", 3, 4, 3600)
    assert type(model[0]) is nn.LazyConv2d
    assert model[0].has_uninitialized_params()


def test_recurrent_layers_and_attention_are_leaves(follow, ops):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 8, batch_first=True)
            self.gru = nn.GRU(8, 8, batch_first=True)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            x, (h, _) = self.lstm(x)
            x, _ = self.gru(x)
            return self.attention(x, x, x)[0], h

    for tracer in (TraceKind.SYMBOLIC, TraceKind.EXECUTION):
        graph = follow(Mixed(), torch.zeros(2, 5, 8), tracer=tracer)
        assert ops(graph) == ["lstm", "gru", "attention"]
        assert [node.inputs for node in graph.nodes] == [(), (0,), (1,), (2,), (3, 1)]
        assert all(module.ran for module in graph.modules.values())


def test_transformer_layers_are_traced_inside_in_eval_mode_too(follow, ops):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    class NeedsEval(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            if self.training:
                message = "give me targets"
                raise RuntimeError(message)
            return self.layer(x)

    graph = follow(NeedsEval(), torch.zeros(2, 5, 8))
    assert graph.mode == "eval"
    assert [op for op in ops(graph) if op in {"attention", "layer_norm", "linear"}] == ["attention", "layer_norm", "linear", "linear", "layer_norm"]
    assert any("only eval mode" in note and "give me targets" in note for note in graph.notes)


def test_float_functional_is_the_operation_it_stands_for(follow, ops):
    class Quantizable(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant = torch.ao.quantization.QuantStub()
            self.join = torch.ao.nn.quantized.FloatFunctional()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.quant(x)
            return self.join.add(x, self.conv(x))

    graph = follow(Quantizable(), torch.zeros(2, 3, 4, 4))
    assert [op for op in ops(graph) if op != "identity"] == ["conv", "add"]
    assert next(node for node in graph.nodes if node.op == "add").is_residual


def test_modules_made_in_forward_are_traced_inside(follow, ops):
    class Careless(nn.Module):
        def forward(self, x):
            return nn.Softmax(dim=1)(nn.ReLU()(x))

    for tracer in (TraceKind.SYMBOLIC, TraceKind.EXECUTION):
        graph = follow(Careless(), torch.zeros(2, 3), tracer=tracer)
        assert ops(graph) == ["relu", "softmax"]
        assert [node.module for node in graph.nodes[1:3]] == ["", ""]
        assert graph.nodes[2].attrs["dim"] == 1


def test_hooks_of_the_user_run_and_what_they_compute_is_recorded(follow, ops):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    seen = []
    model[0].register_forward_hook(lambda _module, _args, output: seen.append(output.shape) or torch.tanh(output))
    graph = follow(model, torch.zeros(2, 4))
    assert ops(graph) == ["linear", "tanh", "relu"]
    assert seen
    assert "forward" not in vars(model[0])
