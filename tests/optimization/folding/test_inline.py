from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

IMAGE = torch.randn(2, 4, 6, 5)


class Calls(nn.Module):
    """Norms, factors and convolutions as calls of functions."""

    def __init__(self, forward):
        super().__init__()
        self.conv, self.bare, self.linear = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False), nn.Linear(4, 4)
        self.norm = nn.BatchNorm2d(4)
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))
        self.kernel = nn.Parameter(torch.randn(4, 4, 1, 1) / 2)
        self.gamma, self.wide = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4, 1, 1))
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def own(m, x):
    return F.batch_norm(x, m.mean, m.var, m.weight, m.bias, m.training, 0.1, 1e-3)


def child(m, x):
    return F.batch_norm(x, m.norm.running_mean, m.norm.running_var, m.norm.weight, m.norm.bias, training=False, eps=m.norm.eps)


FOLDED = {
    "numbers of its own": (lambda m, x: own(m, m.conv(x)).relu(), [("conv2d + batch_norm", "conv2d", ("0.conv", "0"))]),
    "numbers of a layer": (lambda m, x: child(m, m.bare(x)).relu(), [("conv2d + batch_norm", "conv2d", ("0.bare", "0.norm"))]),
    "no numbers to learn": (
        lambda m, x: F.batch_norm(m.conv(x), m.mean, m.var, eps=0.1).relu(), [("conv2d + batch_norm", "conv2d", ("0.conv", "0"))],
    ),
    "a kernel that is called": (
        lambda m, x: m.norm(F.conv2d(x, m.kernel)).relu(), [("conv2d + batch_norm", "conv2d", ("0", "0.norm"))],
    ),
    "a kernel and a bias that are called": (
        lambda m, x: m.norm(F.conv2d(x, m.kernel, m.bias, padding=1)).relu(), [("conv2d + batch_norm", "conv2d", ("0", "0.norm"))],
    ),
    "both called": (lambda m, x: own(m, F.conv2d(x, m.kernel)).relu(), [("conv2d + batch_norm", "conv2d", ("0", "0"))]),
    "called layer": (
        lambda m, x: m.norm(F.conv2d(x, m.bare.weight)).relu(), [("conv2d + batch_norm", "conv2d", ("0.bare", "0.norm"))],
    ),
    "factor": (lambda m, x: x + m.wide * m.conv(x), [("conv2d + scale", "conv2d", ("0.conv", "0.wide"))]),
    "factor that is reshaped": (lambda m, x: x + m.conv(x) * m.gamma.view(1, -1, 1, 1), [("conv2d + scale", "conv2d", ("0.conv", "0.gamma"))]),
    "factor of the last axis": (
        lambda m, x: m.linear(x.permute(0, 2, 3, 1)).mul(m.gamma).relu(), [("linear + scale", "linear", ("0.linear", "0.gamma"))],
    ),
    "summand": (lambda m, x: (m.bare(x) + m.wide).relu(), [("conv2d + scale", "conv2d", ("0.bare", "0.wide"))]),
    "written in place": (lambda m, x: m.conv(x).mul_(m.wide).relu(), [("conv2d + scale", "conv2d", ("0.conv", "0.wide"))]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_folds_calls(fold, name):
    forward, expected = FOLDED[name]
    found = fold(nn.Sequential(Calls(forward)), IMAGE, stages=("fold",))
    assert (found.found, found.refused) == (expected, [])
    called = [node.target for node in torch.fx.symbolic_trace(found.model).graph.nodes]
    assert F.batch_norm not in called
    assert torch.equal(torch.export.export(found.model, (IMAGE,), strict=False).module()(IMAGE), found.model(IMAGE))


def twice(m, y):
    return own(m, y) + y


def test_a_normalized_input_goes_into_the_first_layer(fold):
    model = Calls(lambda m, x: F.conv2d((x - m.wide) / m.gamma.view(1, -1, 1, 1), m.kernel, m.bias).relu())
    found = fold(nn.Sequential(model), IMAGE, stages=("fold", "fold"))
    assert found.found == [("scale + conv2d", "conv2d", ("0", "0.gamma")), ("scale + conv2d", "conv2d", ("0", "0.wide"))]
    assert [node.op for node in torch.fx.symbolic_trace(found.model).graph.nodes if node.op == "call_function"] == ["call_function"]


def test_a_normalized_input_stays_ahead_of_zeros(fold):
    model = Calls(lambda m, x: m.conv((x - m.wide) / m.gamma.view(1, -1, 1, 1)).relu())
    found = fold(nn.Sequential(model), IMAGE, stages=("fold", "fold"))
    assert found.found == [("scale + conv2d", "conv2d", ("0.conv", "0.gamma"))]
    assert found.refused == [(("0.wide", "0.conv"), "the layer behind it pads with zeros, to which the norm adds nothing")]


LEFT = {
    "statistics of the batch": lambda m, x: F.batch_norm(m.conv(x), None, None, m.weight, m.bias, training=True),
    "training, always": lambda m, x: F.batch_norm(m.conv(x), m.mean.clone(), m.var.clone(), training=True),
    "computed scale": lambda m, x: F.batch_norm(m.conv(x), m.mean, m.var, m.weight + 1, m.bias),
    "read elsewhere": lambda m, x: own(m, m.conv(x)) * m.mean.sum(),
    "factor of every pixel": lambda m, x: m.conv(x) * m.gamma[:, None].repeat(1, 5)[:, :5].sum(),
    "used twice": lambda m, x: twice(m, m.conv(x)),
}


@pytest.mark.parametrize("name", LEFT)
def test_leaves_calls_alone(fold, name):
    assert fold(nn.Sequential(Calls(LEFT[name])), IMAGE, stages=("fold",)).found == []


class Borrows(nn.Module):
    """Normalizes with the numbers of a layer that it does not call."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x, scale=None):
        held = self.norm
        y = F.batch_norm(self.conv(x), held.running_mean, held.running_var, held.weight, held.bias)
        return y if scale is None else y * scale


def test_the_state_of_a_layer_whose_numbers_were_folded_can_be_loaded(fold):
    model = fold(Borrows(), IMAGE).model
    assert list(model.state_dict()) == ["conv.weight", "conv.bias", "norm.num_batches_tracked"]
    model.load_state_dict({key: value.clone() for key, value in model.state_dict().items()})


def test_a_folded_forward_that_is_called_in_another_way_says_so(fold):
    model = fold(Borrows(), IMAGE).model
    with pytest.raises(RuntimeError, match="the forward of the model was folded for inference with other arguments"):
        model(IMAGE, torch.ones(1))
