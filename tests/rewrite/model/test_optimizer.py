"""Optimizers go on after layers were put in place: groups, state, schedulers, and back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normadvisor.rewrite.model import CannotChange, change_model

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "sgd momentum": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd foreach": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, foreach=True),
    "sgd fused": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, fused=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, amsgrad=True),
    "adam foreach": lambda groups: torch.optim.Adam(groups, lr=0.01, foreach=True),
    "adam fused": lambda groups: torch.optim.Adam(groups, lr=0.01, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.01, initial_accumulator_value=0.5),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01, momentum=0.9, centered=True),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=0.01),
    "radam": lambda groups: torch.optim.RAdam(groups, lr=0.01),
    "adamax": lambda groups: torch.optim.Adamax(groups, lr=0.01),
    "adadelta": torch.optim.Adadelta,
    "asgd": lambda groups: torch.optim.ASGD(groups, lr=0.01),
    "rprop": lambda groups: torch.optim.Rprop(groups, lr=0.01),
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def grouped(model):
    """Convolutions, biases and norms apart, as one does for weight decay; a schedule of its own for each."""
    norms = [p for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)) for p in m.parameters()]
    biases = [m.bias for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    return [{"params": weights}, {"params": biases, "lr": 0.02}, {"params": norms, "lr": 0.005}]


def step(model, optimizer, scheduler=None):
    optimizer.zero_grad()
    model(X).square().mean().backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()


def no_bias(operation, graph, *names):
    return [operation("set_argument", graph, name, argument="bias", value=False) for name in names]


def members(optimizer):
    return [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_the_bias_had_never_been(follow, operation, snapshot, name):
    model = net()
    optimizer = OPTIMIZERS[name](grouped(model))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    twin = copy.deepcopy(net())
    other = OPTIMIZERS[name](grouped(twin))
    twin_scheduler = torch.optim.lr_scheduler.StepLR(other, 1, gamma=0.5)
    for _ in range(2):
        step(model, optimizer, scheduler)
        step(twin, other, twin_scheduler)
    before = snapshot(model, optimizer)
    graph = follow(model, X)
    biases = [model[0].bias, model[3].bias]
    change = change_model(model, no_bias(operation, graph, "0", "3"), graph, optimizer=optimizer)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 0, 4]
    assert not any(bias in optimizer.state for bias in biases)
    change.undo()
    assert snapshot(model, optimizer) == before
    change_model(model, no_bias(operation, graph, "0", "3"), graph, optimizer=optimizer)
    for _ in range(2):
        step(model, optimizer, scheduler)
        step(twin, other, twin_scheduler)
    # Of the twin, whose biases have no effect, everything else has gone the same way.
    for layer in (0, 1, 3, 4):
        torch.testing.assert_close(model[layer].weight, twin[layer].weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model(X), twin(X), rtol=1e-2, atol=1e-2)
    saved = optimizer.state_dict()
    fresh = net()
    fresh[0].bias = fresh[3].bias = None
    again = OPTIMIZERS[name](grouped(fresh))
    again.load_state_dict(saved)
    assert torch.optim.lr_scheduler.StepLR(again, 1).get_last_lr()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_new_parameters_join_the_group_of_their_predecessors_and_train(follow, operation, snapshot, name):
    model = net()
    model[1] = nn.InstanceNorm2d(8)  # without parameters
    optimizer = OPTIMIZERS[name](grouped(model))
    step(model, optimizer)
    before, graph = snapshot(model, optimizer), follow(model, X)
    made = [
        operation("replace_layer", graph, "5", layer="torch.nn.PReLU"),
        operation("replace_layer", graph, "4", layer="torch.nn.GroupNorm", arguments={"num_groups": 2, "num_channels": 4}),
        operation("set_argument", graph, "3", argument="out_channels", value=4),
        operation("wrap_layer", graph, "0", layer="torch.nn.utils.parametrizations.weight_norm"),
    ]
    gamma = model[4].weight
    change = change_model(model, made, graph, optimizer=optimizer)
    assert model[4].weight is gamma
    assert gamma in optimizer.state or name == "sgd"
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in model.parameters()}
    # The two parts of the weight stand in the group of the weight, the slope in that of a parameter near it.
    originals = [id(parameter) for name, parameter in model[0].named_parameters() if "original" in name]
    assert set(originals) <= set(members(optimizer)[0])
    start = {name: value.clone() for name, value in model.named_parameters()}
    for _ in range(2):
        step(model, optimizer)
    moved = [name for name, value in model.named_parameters() if not torch.equal(value, start[name])]
    assert {"0.parametrizations.weight.original1", "5.weight", "4.weight"} <= set(moved)
    change.undo()
    after = snapshot(model, optimizer)
    assert (after[0], after[3]) == (before[0], before[3])
    step(model, optimizer)


def test_a_new_parameter_stands_where_the_old_one_stood(follow, operation):
    model = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    graph = follow(model, X)
    change_model(model, [operation("set_argument", graph, "0", argument="bias", value=True)], graph, optimizer=optimizer)
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "1.weight", "1.bias", "0.bias"]
    wider = operation("set_argument", graph, "1", argument="out_features", value=6)
    change = change_model(model, [wider], graph, optimizer=optimizer)
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "1.weight", "1.bias", "0.bias"]
    assert [tuple(parameter.shape) for parameter in optimizer.param_groups[0]["params"]] == [(4, 8), (6, 4), (6,), (4,)]
    change.undo()
    assert [tuple(parameter.shape) for parameter in optimizer.param_groups[0]["params"]] == [(4, 8), (4, 4), (4,), (4,)]
    # A removed bias takes its name along.
    change_model(model, no_bias(operation, graph, "1"), graph, optimizer=optimizer)
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "1.weight", "0.bias"]


def test_an_optimizer_of_other_parameters_is_left_alone(follow, operation):
    model = net()
    head, rest = torch.optim.SGD(model[3:].parameters(), lr=0.1), torch.optim.Adam(model[:3].parameters(), lr=0.1)
    graph, before = follow(model, X), members(head)
    made = operation("replace_layer", graph, "2", layer="torch.nn.PReLU")
    change_model(model, [made, *no_bias(operation, graph, "0")], graph, optimizer=[head, rest])
    assert members(head)[0][:4] == before[0][:4]
    frozen = net()
    only_head = torch.optim.SGD(frozen[3:].parameters(), lr=0.1)
    graph = follow(frozen, X)
    made = operation("replace_layer", graph, "1", layer="torch.nn.LayerNorm", arguments={"normalized_shape": [6]})
    change_model(frozen, [made], graph, optimizer=only_head)
    assert len(only_head.param_groups[0]["params"]) == 4


def test_frozen_layers_get_frozen_successors(follow, operation):
    model = net().requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    graph = follow(model, X)
    made = operation("replace_layer", graph, "1", layer="torch.nn.LayerNorm", arguments={"normalized_shape": [6]})
    change_model(model, [made], graph, optimizer=optimizer)
    assert not model[1].weight.requires_grad
    assert any(parameter is model[1].weight for parameter in optimizer.param_groups[0]["params"])


def test_separated_norms_train_each(follow, operation):
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), norm, nn.Conv2d(3, 3, 3), norm)
    optimizer = torch.optim.SGD(
        [{"params": [*model[0].parameters(), *model[2].parameters()]}, {"params": norm.parameters(), "lr": 1}], lr=0.1
    )
    graph = follow(model, X)
    change_model(model, [operation("separate_layers", graph, "1")], graph, optimizer=optimizer)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 4]
    step(model, optimizer)
    assert not torch.equal(model[1].weight, model[3].weight)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda model: torch.optim.LBFGS(model.parameters()), "LBFGS keeps one history"),
        (lambda model: "adam", "str is no torch.optim.Optimizer"),
        (lambda model: [torch.optim.SGD(model.parameters(), lr=0.1), 3], "int is no torch.optim.Optimizer"),
    ],
)
def test_optimizers_that_cannot_be_mended(follow, operation, snapshot, make, reason):
    model = net()
    graph, before = follow(model, X), snapshot(model)
    with pytest.raises(CannotChange, match=reason):
        change_model(model, no_bias(operation, graph, "0"), graph, optimizer=make(model))
    assert snapshot(model) == before
