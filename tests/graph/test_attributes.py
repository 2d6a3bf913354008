from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.attributes import axis_order, module_attrs, norm_axes
from normadvisor.types import TraceKind


@pytest.mark.parametrize(
    ("op", "attrs", "rank", "axes"),
    [
        ("batch_norm", {}, 4, [0, 2, 3]),
        ("batch_norm", {}, 2, [0]),
        ("instance_norm", {"expected_dims": [3, 4]}, 4, [2, 3]),
        ("instance_norm", {"expected_dims": [3, 4]}, 3, [1, 2]),
        ("group_norm", {"num_groups": 2, "num_channels": 8}, 4, [1, 2, 3]),
        ("group_norm", {"num_groups": 8, "num_channels": 8}, 4, [2, 3]),
        ("layer_norm", {"normalized_shape": [8]}, 3, [2]),
        ("layer_norm", {"normalized_shape": [4, 8]}, 3, [1, 2]),
        ("rms_norm", {"normalized_shape": [8]}, 2, [1]),
        ("local_response_norm", {}, 4, [1]),
        ("layer_norm", {}, None, None),
    ],
)
def test_axes_of_one_statistic(op, attrs, rank, axes):
    assert norm_axes(op, attrs, rank) == axes


@pytest.mark.parametrize(
    ("name", "args", "rank", "order"),
    [
        ("permute", (0, 2, 3, 1), 4, [0, 2, 3, 1]),
        ("permute", ((0, -1, 1),), 3, [0, 2, 1]),
        ("transpose", (1, 2), 3, [0, 2, 1]),
        ("swapaxes", (-1, -2), 3, [0, 2, 1]),
        ("movedim", (1, -1), 4, [0, 2, 3, 1]),
        ("t", (), 2, [1, 0]),
        ("mT", (), 3, [0, 2, 1]),
        ("permute", ("x",), 1, None),
        ("transpose", (1, 9), 3, None),
    ],
)
def test_axis_order(name, args, rank, order):
    assert axis_order(name, (None, *args), {}, rank) == order


def test_module_attributes():
    assert module_attrs("conv", nn.Conv2d(4, 8, 3, groups=2, bias=False)) == {
        "in_channels": 4, "out_channels": 8, "kernel_size": [3, 3], "stride": [1, 1], "padding": [0, 0], "padding_mode": "zeros",
        "dilation": [1, 1], "groups": 2, "output_padding": [0, 0], "bias": False, "in_width": 4, "out_width": 8, "dims": 2,
        "requires_grad": True,
    }  # fmt: skip
    assert module_attrs("batch_norm", nn.SyncBatchNorm(4)) == {
        "num_features": 4, "eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True, "sync": True, "requires_grad": True,
    }  # fmt: skip
    assert module_attrs("layer_norm", nn.LayerNorm(4, elementwise_affine=False)) == {"normalized_shape": [4], "eps": 1e-5, "affine": False}
    assert module_attrs("pad", nn.ReflectionPad2d(1)) == {"mode": "reflect", "pad": [1, 1, 1, 1]}
    assert module_attrs("leaky_relu", nn.LeakyReLU(0.2, inplace=True)) == {"negative_slope": 0.2, "inplace": True}
    assert module_attrs("cross_entropy", nn.CrossEntropyLoss(label_smoothing=0.1)) == {"reduction": "mean", "label_smoothing": 0.1, "ignore_index": -100}


MODULES = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.Dropout2d(0.3),
    nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(1),
    nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 4), nn.GELU("tanh"), nn.LogSoftmax(dim=1),
)  # fmt: skip


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.m = MODULES

    def forward(self, x):
        m = self.m
        x = F.conv2d(x, m[0].weight, m[0].bias, 2, 1)
        x = F.batch_norm(x, m[1].running_mean, m[1].running_var, m[1].weight, m[1].bias, self.training, 0.1, 1e-5)
        x = F.group_norm(F.leaky_relu(x, 0.2), 2, m[3].weight, m[3].bias)
        x = F.dropout2d(F.instance_norm(x), 0.3, self.training)
        x = F.avg_pool2d(F.max_pool2d(x, 2), 3, 1, 1, count_include_pad=False)
        x = F.adaptive_avg_pool2d(F.interpolate(x, scale_factor=2, mode="bilinear"), 1)
        x = F.layer_norm(torch.flatten(x, 1), (8,), m[11].weight, m[11].bias)
        return F.log_softmax(F.gelu(F.linear(x, m[12].weight, m[12].bias), approximate="tanh"), dim=1)


KEYS = {
    "conv": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "dims", "in_width", "out_width", "requires_grad"),
    "batch_norm": ("num_features", "eps", "momentum", "affine", "track_running_stats", "axes", "frozen", "expected_dims"),
    "leaky_relu": ("negative_slope",), "group_norm": ("num_groups", "num_channels", "eps", "affine", "axes"),
    "instance_norm": ("eps", "momentum", "affine", "axes"), "feature_dropout": ("p",), "max_pool": ("padding", "ceil_mode"),
    "avg_pool": ("padding", "ceil_mode", "count_include_pad"), "upsample": ("mode",), "adaptive_avg_pool": ("output_size",),
    "flatten": ("start_dim", "end_dim"), "layer_norm": ("normalized_shape", "eps", "affine", "axes"), "gelu": ("approximate",),
    "linear": ("in_features", "out_features", "bias", "in_width", "out_width"), "log_softmax": ("dim",),
}  # fmt: skip


@pytest.mark.parametrize("tracer", [TraceKind.SYMBOLIC, TraceKind.EXECUTION])
def test_functions_have_the_attributes_of_the_modules(follow, tracer):
    x = torch.zeros(2, 3, 16, 16)

    def told(model):
        graph = follow(model, x, tracer=tracer)
        return [(node.op, {key: node.attrs.get(key) for key in KEYS[node.op]}, node.shape) for node in graph.nodes if node.op in KEYS]

    modules = told(MODULES)
    assert [op for op, *_ in modules] == [*list(KEYS)[:6], "max_pool", "avg_pool", "upsample", "adaptive_avg_pool", "flatten", "layer_norm", "linear", "gelu", "log_softmax"]
    assert told(Functions()) == modules


def test_functional_dropout_says_so(follow):
    class Dropping(nn.Module):
        def forward(self, x):
            return F.dropout(x) + F.dropout(x, 0.1, self.training)

    first, second = follow(Dropping(), torch.zeros(2, 3)).nodes[1:3]
    assert (first.attrs, first.training) == ({"p": 0.5, "functional": True, "training": True}, True)
    assert (second.attrs, second.training) == ({"p": 0.1, "functional": True, "training": True}, True)


def test_losses(follow):
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)

        def forward(self, x, target):
            return self.loss(x, target) + F.cross_entropy(x, target, reduction="sum")

    first, second = follow(Loss(), torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)).nodes[2:4]
    assert (first.attrs["reduction"], first.attrs["label_smoothing"], first.inputs) == ("mean", 0.1, (0, 1))
    assert (second.attrs["reduction"], second.attrs["label_smoothing"], second.inputs) == ("sum", 0.0, (0, 1))
