from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.recognise import Recogniser


class RMSNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, hidden):
        hidden = hidden.to(torch.float32)
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden * torch.rsqrt(variance + self.variance_epsilon))


class OffsetRMSNorm(RMSNorm):
    def forward(self, hidden):
        return (1 + self.weight) * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + 1e-3)


class ChannelsFirstLayerNorm(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class StdLayerNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return self.a * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.b


class PixelNorm(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-8)


class Groups(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.w, self.b, self.g = nn.Parameter(torch.ones(1, channels, 1, 1)), nn.Parameter(torch.zeros(1, channels, 1, 1)), groups

    def forward(self, x):
        y = x.view(x.shape[0], self.g, -1)
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True) + 1e-5).sqrt()
        return y.view(x.shape) * self.w + self.b


class Instances(nn.Module):
    def forward(self, x):
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()


class Frozen(nn.Module):
    def __init__(self, size):
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(size))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


class PositionStatistics(nn.Module):
    """A batch norm over the batch axis alone, without running statistics."""

    def __init__(self, size):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x):
        y = (x - x.mean(0, keepdim=True)) / torch.sqrt(x.var(0, unbiased=False, keepdim=True) + 1e-3)
        return self.gamma.view(1, -1, 1, 1) * y + self.beta.view(1, -1, 1, 1)


class NeverUpdates(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))

    def forward(self, x):
        mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)) if self.training else (self.mean, self.var)
        y = (x - mean.view(1, -1, 1, 1)) / torch.sqrt(var.view(1, -1, 1, 1) + 1e-5)
        return self.gamma.view(1, -1, 1, 1) * y + self.beta.view(1, -1, 1, 1)


class PlainAttributes(nn.Module):
    """Running statistics in attributes that are no buffers, and gradients instead of ``training`` tell the modes apart."""

    def __init__(self, size):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(1, size, 1, 1)), nn.Parameter(torch.zeros(1, size, 1, 1))
        self.mean, self.var = torch.zeros(1, size, 1, 1), torch.ones(1, size, 1, 1)

    def forward(self, x):
        if torch.is_grad_enabled():
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mean.detach(), 0.9 * self.var + 0.1 * var.detach()
        else:
            mean, var = self.mean, self.var
        return self.gamma * (x - mean) / torch.sqrt(var + 1e-5) + self.beta


class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)


NORM = {"affine": True, "handwritten": True}
MEASURED = {"has_buffers": True, "uses_running_stats": True, "peer_dependence": 0.0}


@pytest.mark.parametrize(
    ("module", "op", "attrs"),
    [
        (RMSNorm(16, 1e-6), "rms_norm", {**NORM, "eps": 1e-6, "normalized_shape": [16]}),
        (OffsetRMSNorm(16), "rms_norm", {**NORM, "eps": 1e-6, "normalized_shape": [16]}),
        (ChannelsFirstLayerNorm(16), "layer_norm", {**NORM, "eps": 1e-5, "normalized_shape": [16], "axes": [1]}),
        (StdLayerNorm(16), "layer_norm", {**NORM, "eps": 0.0, "normalized_shape": [16]}),
        (PixelNorm(), "rms_norm", {"affine": False, "handwritten": True, "eps": 1e-8, "normalized_shape": [6], "axes": [1]}),
        (Groups(8, 4), "group_norm", {**NORM, "num_groups": 4, "num_channels": 8}),
        (Instances(), "instance_norm", {"affine": False, "handwritten": True, "eps": 1e-5}),
        (Frozen(16), "affine", {"affine": False, "num_features": 16}),
        (NeverUpdates(8), "batch_norm", {**NORM, **MEASURED, "eps": 1e-5, "num_features": 8, "updates_running_stats": False, "track_running_stats": False}),
        (PlainAttributes(8), "batch_norm", {**NORM, **MEASURED, "eps": 1e-5, "num_features": 8, "updates_running_stats": True, "track_running_stats": True}),
        (DropPath(0.25), "drop_path", {"p": 0.25}),
        (DropPath(0.0), "identity", {}),
    ],
)
def test_what_a_module_computes_is_what_it_is(module, op, attrs):
    found = Recogniser().recognise(module)
    assert found is not None
    if op == "layer_norm" and isinstance(module, StdLayerNorm):
        attrs = {**attrs, "eps": found.attrs["eps"]}  # eps outside the root has no equivalent
    assert (found.op, dict(found.attrs)) == (op, attrs)


def test_statistics_per_position_are_seen():
    found = Recogniser().recognise(PositionStatistics(8))
    assert found is not None
    assert found.op == "batch_norm"
    assert dict(found.axes) == {4: (0,)}
    dependence = found.attrs["peer_dependence"]
    assert isinstance(dependence, float)
    assert dependence > 0.1
    assert {key: found.attrs[key] for key in ("eps", "has_buffers", "updates_running_stats", "uses_running_stats")} == {
        "eps": 1e-3, "has_buffers": False, "updates_running_stats": False, "uses_running_stats": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("function", "op", "attrs"),
    [
        (lambda x: x * torch.sigmoid(x), "silu", {}),
        (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu", {"approximate": "none"}),
        (lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))), "gelu", {"approximate": "tanh"}),
        (lambda x: x * torch.sigmoid(1.702 * x), "gelu", {"approximate": "quick"}),
        (lambda x: torch.where(x > 0, x, torch.zeros_like(x)), "relu", {}),
        (lambda x: x * torch.tanh(F.softplus(x)), "mish", {}),
        (lambda x: x * F.relu6(x + 3) / 6, "hardswish", {}),
        (lambda x: 1 / (1 + torch.exp(-x)), "sigmoid", {}),
        (lambda x: 2 * torch.sigmoid(2 * x) - 1, "tanh", {}),
    ],
)
def test_activations(function, op, attrs):
    class Mine(nn.Module):
        def forward(self, x):
            return function(x)

    found = Recogniser().recognise(Mine())
    assert found is not None
    assert (found.op, dict(found.attrs)) == (op, attrs)


@pytest.mark.parametrize("function", [lambda x: x**2, lambda x: x.flatten(1), lambda x: x.softmax(-1), lambda x: x - x.mean(), torch.sort, lambda x: x.no_such_attribute])
def test_anything_else_is_nothing(function):
    class Mine(nn.Module):
        def forward(self, x):
            return function(x)

    assert Recogniser().recognise(Mine()) is None


def test_modules_without_data_are_recognised_as_well():
    with torch.device("meta"):
        module = RMSNorm(8)
    found = Recogniser().recognise(module)
    assert found is not None
    assert found.op == "rms_norm"


def test_nothing_is_left_behind(capsys):
    class Loud(nn.Module):
        runs = 0

        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(4))

        def forward(self, x):
            Loud.runs += 1
            print("computing")  # noqa: T201 -- caught
            self.count += 1
            return torch.rand_like(x)

    module, state = Loud(), torch.get_rng_state()
    recogniser = Recogniser()
    assert recogniser.recognise(module) is None
    runs = Loud.runs
    assert recogniser.recognise(Loud()) is None
    assert Loud.runs == runs
    assert capsys.readouterr() == ("", "")
    assert torch.equal(module.count, torch.zeros(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_modules_with_several_arguments_or_children_are_not_run():
    class Two(nn.Module):
        def forward(self, x, y):
            raise AssertionError

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = nn.ReLU()

        def forward(self, x):
            raise AssertionError

    assert Recogniser().recognise(Two()) is None
    assert Recogniser().recognise(Parent()) is None


def test_recognised_modules_are_leaves_of_a_graph(follow, ops):
    graph = follow(nn.Sequential(nn.Conv2d(3, 8, 3), PositionStatistics(8), nn.ReLU()), torch.zeros(1, 3, 8, 8))
    assert ops(graph) == ["conv", "batch_norm", "relu"]
    assert (graph.nodes[2].attrs["axes"], graph.nodes[2].cls, graph.nodes[2].channel_axis) == ([0], "PositionStatistics", 1)


class ResponseNorm(nn.Module):
    """Divides each channel's energy by the mean over channels: not one of the known norms, since it keeps the scale."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        energy = x.norm(dim=(2, 3), keepdim=True)
        return x + self.weight.view(1, -1, 1, 1) * x * energy / energy.mean(1, keepdim=True)


class NormalForm(nn.Module):
    """Has the word in its name and looks at one element at a time."""

    def forward(self, x):
        return x * torch.exp(-x)


def test_a_norm_of_an_unknown_kind_is_named_so_only_if_elements_depend_on_each_other():
    recogniser = Recogniser()
    assert recogniser.recognise(ResponseNorm(8)).op == "custom_norm"
    assert recogniser.recognise(NormalForm()) is None
