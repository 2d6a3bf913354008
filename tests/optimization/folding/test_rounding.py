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
