"""Models of torchvision and timm: every BatchNorm converted, every activation kept, the same numbers where statistics are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normadvisor.rewrite.convert import convert_norms

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

ZOO = [
    "torchvision resnet18",
    "torchvision mobilenet_v3_small",
    "torchvision shufflenet_v2_x0_5",
    "timm efficientnet_b0",
    "timm regnetx_002",
    "timm mobilenetv3_small_050",
    "timm darknet17",
    "timm lcnet_050",
    "timm repvgg_a0",
    "timm ghostnet_050",
    "timm res2net50_14w_8s",
]


def made(text):
    family, name = text.split()
    module = pytest.importorskip(family)
    torch.manual_seed(0)
    return module.models.get_model(name) if family == "torchvision" else module.create_model(name)


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("name", ZOO)
def test_every_norm_is_converted(name):
    model = made(name)
    count, parameters = len(norms(model)), [id(value) for value in model.parameters()]
    leaves = [type(module) for module in model.modules() if not list(module.children()) and module not in norms(model)]
    old = [norm.eps for norm in norms(model)]
    result = convert_norms(model, "group_norm")
    groups = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert (len(result.converted), result.skipped, norms(model)) == (count, (), [])
    assert [group.eps for group in groups] == old
    assert [id(value) for value in model.parameters()] == parameters
    kept = [module for module in model.modules() if not list(module.children()) and not isinstance(module, nn.GroupNorm)]
    assert [type(module) for module in kept] == leaves
    model(X).sum().backward()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize("name", ZOO)
def test_frozen_is_the_same_in_eval_mode(name):
    model = made(name).eval()
    with torch.no_grad():
        for norm in norms(model):
            for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                value.uniform_(0.5, 1.5)
        frozen = copy.deepcopy(model)
        result = convert_norms(frozen, "frozen_batch_norm")
        assert torch.equal(model(X), frozen(X))
        assert torch.equal(model(X), frozen.train(mode=False)(X))
    assert frozen.load_state_dict(result.key_map.apply(model.state_dict())) == ([], [])
