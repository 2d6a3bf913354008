from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

IMAGE = torch.randn(2, 4, 9, 8)


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).transpose(-1, -2)


class Standardized(nn.Conv2d):
    """Weight standardization as timm and others write it."""

    def forward(self, x):
        weight = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding, self.dilation, self.groups)


class Scaled(nn.Conv2d):
    """With a gain, and padding as TensorFlow does it."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x):
        height, width = x.shape[-2:]
        reach = [
            max((-(-size // s) - 1) * s + k - size, 0)
            for size, s, k in zip((width, height), self.stride[::-1], self.kernel_size[::-1], strict=True)
        ]
        x = F.pad(x, [each for total in reach for each in (total // 2, total - total // 2)])
        mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) * (var + 1e-5).rsqrt() * self.gain, self.bias, self.stride)


class Noisy(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight * 2, self.bias) + self.weight.sum()


def symmetric():
    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


MADE = {
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), "conv2d", "weight_norm"),
    "old weight_norm": (lambda: weight_norm(nn.Conv2d(4, 4, 3, bias=False)), "conv2d", "weight_norm"),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)), "conv2d", "spectral_norm"),
    "old spectral_norm": (lambda: spectral_norm(nn.ConvTranspose2d(4, 4, 3, stride=2)), "conv_transpose2d", "spectral_norm"),
    "of the user's": (symmetric, "linear", "Symmetric"),
    "reflecting": (
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), "conv2d", "weight_norm",
    ),
    "standardized": (lambda: Standardized(4, 4, 3, stride=2, padding=1), "conv2d", "Standardized"),
    "scaled": (lambda: Scaled(4, 4, 3, stride=2), "conv2d", "Scaled"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("name", MADE)
def test_computes_the_weight_once(fold, name):
    make, what, how = MADE[name]
    norm = [] if what == "linear" else [nn.BatchNorm2d(4)]
    torch.manual_seed(0)
    found = fold(nn.Sequential(make(), *norm), IMAGE)
    folded = [(f"{what} + batch_norm", what, ("0", "1"))] if norm else []
    assert found.found == [(f"{what} whose weight is computed at each call ({how})", what, ("0",)), *folded]
    assert sorted(found.model.state_dict()) == (["0.bias", "0.weight"])


def test_says_why_a_weight_cannot_be_computed_once(fold):
    found = fold(nn.Sequential(Noisy(4, 4, 3), nn.BatchNorm2d(4)), IMAGE)
    assert found.found == []
    assert found.refused == [
        (("0",), "it does more than a plain layer with the same weight"),
        (("1",), "add stands before it, not a layer with weights"),
    ]


def test_lazy_layers_are_left_alone(helpers):
    from normadvisor.graph import trace
    from normadvisor.optimization.folding.finders import find_computed, find_folds

    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()).eval()
    setting = helpers.setting_of([IMAGE])
    graph = trace(model, setting.inputs, target="", sites={}, mode="eval")
    found = [(item.modules, item.reason) for finder in (find_computed, find_folds) for item in finder(model, graph, setting)]
    assert found == [(("1",), "it is lazy and has no shapes yet")]
