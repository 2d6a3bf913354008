"""Biases folded into running means: found by the graph, and equal in eval mode when it is done."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import nn

from normadvisor.graph import trace
from normadvisor.rewrite.folding import FoldError, folds
from normadvisor.rewrite.keys import Fold
from normadvisor.targets.inputs import Inputs
from normadvisor.types import Operation, OperationKind, Part


class Through(nn.Module):
    """A layer, a function, a norm."""

    def __init__(self, layer, between, norm):
        super().__init__()
        self.layer, self.norm, self.between = layer, norm, between

    def forward(self, x):
        return self.norm(self.between(self.layer(x)))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))

    def forward(self, x):
        return F.batch_norm(self.conv(x), self.mean, self.var, training=self.training)


class HandWritten(nn.Module):
    def __init__(self, channels, *, mean="mu_mean"):
        super().__init__()
        self.name = mean
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer(mean, torch.zeros(1, channels, 1, 1))
        self.register_buffer("var", torch.ones(1, channels, 1, 1))

    def forward(self, x):
        if not self.training:
            return (x - getattr(self, self.name)) / (self.var + 1e-5).sqrt() * self.weight[:, None, None]
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        with torch.no_grad():
            getattr(self, self.name).mul_(0.9).add_(0.1 * mean)
            self.var.mul_(0.9).add_(0.1 * var)
        return (x - mean) / (var + 1e-5).sqrt() * self.weight[:, None, None]


class Two(nn.Module):
    """One layer before two norms, or two layers before one."""

    def __init__(self, *, layers, norms):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 4, 3) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(norms))

    def forward(self, x):
        return self.norms[0](self.layers[0](x)) + self.norms[-1](self.layers[-1](2 * x))


def _graph(model, x):
    return trace(model, Inputs(args=(x,), kwargs={}, spec="", given=True, why=""), target="model", sites={})


def _no_bias(*names):
    return [Operation(kind=OperationKind.SET_ARGUMENT, part=Part(module=name, op="conv"), argument="bias", value=False) for name in names]


def _image():
    return torch.randn(4, 3, 12, 12, dtype=torch.float64)


def _randomized(model):
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5)
    return model.double()


def _check(model, x, names, expected):
    """The folds are the expected ones, and with them the model without biases computes the same in eval mode."""
    model = _randomized(model)
    found = folds(_graph(model, x), _no_bias(*names), model)
    assert found == tuple(expected)
    changed = copy.deepcopy(model)
    state = changed.state_dict()
    with torch.no_grad():
        for fold in found:
            state[fold.into].copy_(fold.folded(state[fold.source], state[fold.into]))
        for name in names:
            changed.get_submodule(name).bias = None
    for mode in (True, False):
        torch.testing.assert_close(changed.train(mode)(x), model.train(mode)(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        dict(changed.named_buffers())[expected[0].into],
        found[0].folded(model.get_parameter(found[0].source), dict(model.named_buffers())[expected[0].into]),
        rtol=1e-9,
        atol=1e-9,
    )


_WAYS = {
    "nothing": (nn.Conv2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4), 1, 1),
    "transposed convolution": (nn.ConvTranspose2d(3, 4, 3), nn.Identity(), nn.BatchNorm2d(4), 1, 1),
    "pooling": (nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), 1, 1),
    "average pooling": (nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.BatchNorm2d(4), 1, 1),
    "reflection": (nn.Conv2d(3, 4, 3), nn.ReflectionPad2d(1), nn.BatchNorm2d(4), 1, 1),
    "upsampling": (nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.BatchNorm2d(4), 1, 1),
    "global pooling and flattening": (nn.Conv2d(3, 4, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.BatchNorm1d(4), 1, 1),
    "flattening of space": (nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.BatchNorm1d(4), 1, 1),
    "flattening of channels": (nn.Conv2d(3, 4, 3), nn.Flatten(), nn.BatchNorm1d(400), 100, 1),
    "splitting of channels that were merged": (nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 100))), nn.BatchNorm1d(4), 1, 1),
    "features merged with their place": (nn.Linear(12, 4), nn.Flatten(), nn.BatchNorm1d(144), 1, 36),
    "instance norm": (nn.Conv2d(3, 4, 3), nn.Identity(), nn.InstanceNorm2d(4, track_running_stats=True), 1, 1),
    "batch norm with an activation": (nn.Conv2d(3, 4, 3), nn.Identity(), BatchNormAct2d(4), 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("way", _WAYS)
def test_folds_through(way):
    layer, between, norm, repeats, tiles = _WAYS[way]
    fold = Fold("layer.bias", "norm.running_mean", repeats=repeats, tiles=tiles)
    if way == "splitting of channels that were merged":
        # What was merged is not taken apart again: nothing is claimed.
        assert folds(_graph(Through(layer, between, norm).double(), _image()), _no_bias("layer")) == ()
        return
    _check(Through(layer, between, norm), _image(), ["layer"], [fold])


def test_folds_through_a_transposition():
    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 8)
            self.bn = nn.BatchNorm1d(8)

        def forward(self, points):
            return self.bn(self.fc(points).transpose(1, 2)).relu()

    _check(Points(), torch.randn(4, 16, 3, dtype=torch.float64), ["fc"], [Fold("fc.bias", "bn.running_mean")])


def test_folds_into_the_buffers_of_a_function():
    _check(Functional(), _image(), ["conv"], [Fold("conv.bias", "mean")])


def test_folds_into_a_handwritten_norm():
    model = Through(nn.Conv2d(3, 4, 3), nn.Identity(), HandWritten(4))
    _check(model, _image(), ["layer"], [Fold("layer.bias", "norm.mu_mean")])
    with pytest.raises(FoldError, match="which buffer of norm is its running mean is not known"):
        folds(_graph(model, _image()), _no_bias("layer"))
    unknown = Through(nn.Conv2d(3, 4, 3), nn.Identity(), HandWritten(4, mean="center")).double()
    with pytest.raises(FoldError, match="which buffer of norm is its running mean is not known"):
        folds(_graph(unknown, _image()), _no_bias("layer"), unknown)


def test_a_shared_layer_folds_into_every_norm():
    _check(Two(layers=1, norms=2), _image(), ["layers.0"], [Fold("layers.0.bias", f"norms.{n}.running_mean") for n in range(2)])


def test_a_shared_pair_folds_once():
    _check(Two(layers=1, norms=1), _image(), ["layers.0"], [Fold("layers.0.bias", "norms.0.running_mean")])


def test_two_biases_in_one_running_mean_cannot_be_folded():
    model = Two(layers=2, norms=1).double()
    with pytest.raises(FoldError, match=r"norms\.0\.running_mean also serves values that do not come from layers\.0"):
        folds(_graph(model, _image()), _no_bias("layers.0", "layers.1"), model)


def test_all_keys_of_a_shared_norm_are_folded():
    conv, norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
    model = nn.Sequential(conv, norm, nn.ReLU(), conv, norm).double()
    assert folds(_graph(model, _image()), _no_bias("0"), model) == (Fold("0.bias", "1.running_mean"), Fold("0.bias", "4.running_mean"))


@pytest.mark.parametrize(
    ("between", "norm"),
    [
        (nn.ReLU(), nn.BatchNorm2d(4)), (nn.Dropout(), nn.BatchNorm2d(4)), (nn.ZeroPad2d(1), nn.BatchNorm2d(4)),
        (nn.AvgPool2d(3, 2, 1), nn.BatchNorm2d(4)), (nn.PixelShuffle(2), nn.BatchNorm2d(1)), (nn.Identity(), nn.GroupNorm(4, 4)),
        (nn.Identity(), nn.BatchNorm2d(4, track_running_stats=False)), (nn.Identity(), nn.LayerNorm(10)), (nn.Identity(), nn.Identity()),
    ],
    ids=str,
)  # fmt: skip
def test_nothing_is_folded_where_nothing_takes_it_up(between, norm):
    model = Through(nn.Conv2d(3, 4, 3), between, norm).double()
    assert folds(_graph(model, _image()), _no_bias("layer"), model) == ()


def test_pooling_over_the_features_mixes_them():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 8)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return self.norm(F.max_pool1d(self.layer(x), 3, 1, 1).transpose(1, 2))

    assert folds(_graph(Pooled(), torch.randn(2, 5, 12)), _no_bias("layer")) == ()


def test_other_operations_fold_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double()
    graph = _graph(model, _image())
    part = Part(module="0", op="conv")
    others = [
        Operation(kind=OperationKind.SET_ARGUMENT, part=part, argument="bias", value=True),
        Operation(kind=OperationKind.REMOVE_LAYER, part=part),
    ]
    assert folds(graph, others) == ()
    assert folds(graph, _no_bias("0", "0")) == (Fold("0.bias", "1.running_mean"),)
