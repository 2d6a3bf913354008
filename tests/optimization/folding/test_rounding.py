from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(helpers, dtype):
    model = helpers.randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval())
    candidate = next(helpers.found_in(model, torch.randn(2, 3, 7, 8)))
    model[0].to(dtype)
    exact = nn.utils.fuse_conv_bn_eval(copy.deepcopy(model[0]).double(), copy.deepcopy(model[1]).double())
    candidate.apply(model, Journal())
    assert torch.equal(model[0].weight, exact.weight.to(dtype))
    assert torch.equal(model[0].bias, exact.bias.to(dtype))


def test_a_weight_that_its_dtype_cannot_hold_is_refused(helpers):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    candidate = next(helpers.found_in(model, torch.randn(2, 3, 7, 8)))
    model[1].weight.data.fill_(1e6)
    model[0].half()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CannotChange, match=r"0\.weight would not be finite in float16"):
        candidate.apply(model, Journal())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def _ahead(distance, layer):
    """A norm whose running means are so many standard deviations from zero, the layer behind it, and inputs of these statistics."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(256)
    with torch.no_grad():
        norm.running_var.uniform_(0.1, 3)
        norm.running_mean.copy_(torch.randn(256) * distance * norm.running_var.sqrt())
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    x = torch.randn(2, 256, 14, 14) * norm.running_var.sqrt()[:, None, None] + norm.running_mean[:, None, None]
    return nn.Sequential(norm, layer).eval(), x


@pytest.mark.parametrize("layer", [nn.Conv2d(256, 64, 1), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 64))])
@pytest.mark.parametrize(("distance", "folds"), [(0.0, True), (1.0, True), (8.0, False), (100.0, False)])
def test_a_norm_that_takes_a_large_mean_off_stays_ahead_of_a_layer(helpers, layer, distance, folds):
    model, x = _ahead(distance, copy.deepcopy(layer))
    (found,) = helpers.found_in(model, x, stages=("fold",))
    if folds:
        assert found.replacement in {"conv2d", "linear"}
    else:
        assert (found.modules, found.reason.partition(" so large ")[0]) == (("0",), "its running mean is")


@pytest.mark.parametrize(("distance", "worse"), [(0.0, False), (1.0, False), (8.0, True), (100.0, True)])
def test_a_large_mean_taken_up_ahead_of_a_layer_costs_digits(distance, worse):
    """What the bound is for: more than twice the error where it refuses, less where it does not."""
    model, x = _ahead(distance, nn.Conv2d(256, 64, 1))
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        norm, layer = exact
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded = copy.deepcopy(model[1])
        folded.weight.copy_(layer.weight * scale[None, :, None, None])
        folded.bias.copy_(layer.bias + layer.weight.sum((2, 3)) @ (norm.bias - norm.running_mean * scale))
        expected = exact(x.double())
        before, after = (float((run(x) - expected).square().mean()) ** 0.5 for run in (model, folded))
    assert (after > 2 * before) is worse
