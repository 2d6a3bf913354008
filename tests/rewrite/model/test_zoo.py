"""Models of torchvision and timm, with mistakes planted: the same function after safe operations, valid models after the others."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import nn

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model import CannotChange, change_model

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

ZOO = {
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=5),
    "torchvision vgg11_bn": lambda: torchvision.models.vgg11_bn(num_classes=5).features,
    "torchvision mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
    "timm efficientnet_b0": lambda: timm.create_model("efficientnet_b0", num_classes=5),
    "timm regnetx_002": lambda: timm.create_model("regnetx_002", num_classes=5),
    "timm densenet": lambda: timm.create_model("densenet121", num_classes=5, block_config=(2, 2)),
}


def _trained(model):
    generator = torch.Generator().manual_seed(1)
    model = model.double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for value in (module.weight, module.bias, module.running_mean, module.running_var):
                    value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.5)
    return model


def _biased(model):
    """Convolutions that batch norms follow, with biases."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            module.bias = nn.Parameter(torch.rand(module.out_channels, generator=generator, dtype=torch.float64) - 0.5)
    return model


def _run(model, *, train):
    torch.manual_seed(0)
    return model.train(train)(X)


@pytest.mark.parametrize("name", ZOO)
def test_biases_before_norms_are_taken_out(follow, operation, name):
    model = _biased(_trained(ZOO[name]()))
    twin = copy.deepcopy(model)
    graph = follow(model, X)
    norms = {node.index for node in graph.nodes if node.op == "batch_norm"}
    layers = [node.module for node in graph.nodes if node.op == "conv" and node.users and set(node.users) <= norms]
    optimizer = torch.optim.AdamW(model.parameters())
    change = change_model(
        model, [operation("set_argument", graph, layer, argument="bias", value=False) for layer in layers], graph, optimizer=optimizer
    )
    assert len(change.key_map.dropped) == len(change.key_map.folded) == len(layers) > 3
    torch.testing.assert_close(_run(model, train=False), _run(twin, train=False), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(_run(model, train=True), _run(twin, train=True), rtol=1e-9, atol=1e-9)
    state, other = change.key_map.apply(twin.state_dict()), model.state_dict()
    assert list(state) == list(other)
    for key, value in state.items():
        torch.testing.assert_close(value, other[key], rtol=1e-9, atol=1e-9)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}
    change.undo()
    assert list(model.state_dict()) == list(twin.state_dict())


@pytest.mark.parametrize("name", ZOO)
def test_all_norms_are_replaced_and_come_back(follow, operation, snapshot, name):
    model = _trained(ZOO[name]()).eval()
    graph = follow(model, X)
    norms = [module for module, layer in model.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    activations = sum(type(layer).__name__ in {"ReLU", "SiLU", "Hardswish", "SELU"} for layer in model.modules())
    made = [
        operation("replace_layer", graph, norm, layer="torch.nn.GroupNorm", arguments={"num_groups": 1, "num_channels": model.get_submodule(norm).num_features})
        for norm in norms
    ]  # fmt: skip
    before, state, expected = snapshot(model), copy.deepcopy(model.state_dict()), _run(model, train=False)
    change = change_model(model, made, graph)
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    assert activations == sum(type(layer).__name__ in {"ReLU", "SiLU", "Hardswish", "SELU"} for layer in model.modules())
    assert _run(model, train=True).isfinite().all()
    model.load_state_dict(change.key_map.apply(state))
    change.undo()
    assert torch.equal(_run(model, train=False), expected)
    assert snapshot(model) == before


def test_a_norm_with_an_activation_keeps_the_activation(follow, operation):
    model = _trained(nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8, act_layer=nn.SiLU)))
    graph = follow(model, X)
    reference = nn.Sequential(model[0], nn.GroupNorm(4, 8).double(), nn.SiLU())
    reference[1].weight, reference[1].bias = model[1].weight, model[1].bias
    expected, act = reference(X), model[1].act
    made = operation("replace_layer", graph, "1", layer="torch.nn.GroupNorm", arguments={"num_groups": 4, "num_channels": 8})
    assert not made.part.is_layer
    change = change_model(model, [made], graph)
    assert torch.equal(model(X), expected)
    assert model[1].act is act
    assert change.key_map == KeyMap(
        renamed={"1.weight": "1.norm.weight", "1.bias": "1.norm.bias"},
        dropped=("1.running_mean", "1.running_var", "1.num_batches_tracked"),
    )
    change.undo()
    removed = change_model(model, [operation("remove_layer", graph, "1")], graph)
    assert torch.equal(model(X), act(model[0](X)))
    removed.undo()


def test_arguments_of_a_norm_with_an_activation(follow, operation):
    model = _trained(nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8)))
    graph = follow(model, X)
    change_model(model, [operation("set_argument", graph, "1", argument="eps", value=0.5)], graph)
    assert model[1].eps == 0.5


def test_what_cannot_be_kept_is_refused(follow, operation, snapshot):
    class Doubled(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = _trained(nn.Sequential(nn.Conv2d(3, 8, 3), Doubled(8), nn.ReLU()))
    graph, before = follow(model, X), snapshot(model)
    for made in (
        operation("replace_layer", graph, "1", layer="torch.nn.GroupNorm", arguments={"num_groups": 4, "num_channels": 8}),
        operation("remove_layer", graph, "1"),
    ):
        with pytest.raises(CannotChange, match=r"1 \(Doubled\) does more than one operation, and the rest of it would be lost"):
            change_model(model, [made], graph)
    assert snapshot(model) == before


def test_norms_and_activations_change_places_in_a_real_model(follow, operation):
    model = _trained(torchvision.models.vgg11_bn(num_classes=5).features)
    graph = follow(model, X)
    swaps = [
        operation("swap_layers", graph, str(index), str(index + 1))
        for index, layer in enumerate(model)
        if isinstance(layer, nn.BatchNorm2d)
    ]
    state = copy.deepcopy(model.state_dict())
    change = change_model(model, swaps, graph)
    assert [type(layer).__name__ for layer in model][:3] == ["Conv2d", "ReLU", "BatchNorm2d"]
    model.load_state_dict(change.key_map.apply(state))
    change.undo()
    assert list(model.state_dict()) == list(state)
