"""What a change leaves as it is: sharing, hooks, devices, types, modes; and models that are refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from normadvisor.rewrite.model import CannotChange, change_model
from normadvisor.types import Operation, OperationKind, Part

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())


def _groups(operation, graph, name="1", channels=8):
    return operation("replace_layer", graph, name, layer="torch.nn.GroupNorm", arguments={"num_groups": 1, "num_channels": channels})


def test_a_shared_layer_stays_shared_in_every_container(follow, operation, snapshot):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.list = nn.ModuleList([self.norm])
            self.dict = nn.ModuleDict({"norm": self.norm})
            self.seq = nn.Sequential(self.norm, nn.ReLU())
            self.inner = nn.Module()
            self.inner.norm = self.norm
            vars(self)["hidden"] = self.norm

        def forward(self, x):
            return self.seq(self.dict["norm"](self.list[0](self.inner.norm(self.hidden(self.norm(x))))))

    model = Holder()
    graph, before = follow(model, X), snapshot(model.eval())
    change = change_model(model, [_groups(operation, graph, "norm", 3)], graph)
    found = [model.norm, model.list[0], model.dict["norm"], model.seq[0], model.inner.norm, model.hidden]
    assert all(layer is model.norm for layer in found)
    assert type(model.norm) is nn.GroupNorm
    change.undo()
    assert snapshot(model) == before


def test_tied_weights_stay_tied(follow, operation):
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].bias = model[0].bias
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    graph, bias = follow(model, X), model[0].bias
    change = change_model(model, [operation("set_argument", graph, "0", argument="bias", value=False)], graph, optimizer=optimizer)
    assert model[1].bias is bias
    assert any(parameter is bias for parameter in optimizer.param_groups[0]["params"])
    assert change.key_map.dropped == ("0.bias",)


def test_hooks_run_around_the_new_layer_and_handles_still_remove_them(follow, operation, snapshot):
    model, seen = net(), []
    graph, old = follow(model, X), model[1]
    handles = [
        old.register_forward_hook(lambda module, args, out: seen.append(("after", type(module).__name__))),
        old.register_forward_pre_hook(lambda module, args, kwargs: seen.append(("before", type(module).__name__)), with_kwargs=True),
        old.register_full_backward_hook(lambda module, grads, out: seen.append(("back", type(module).__name__))),
    ]
    before = snapshot(model)
    change = change_model(model, [_groups(operation, graph)], graph)
    model(X).sum().backward()
    assert seen == [("before", "GroupNorm"), ("after", "GroupNorm"), ("back", "GroupNorm")]
    change.undo()
    assert snapshot(model)[0] == before[0]
    change_model(model, [_groups(operation, graph)], graph)
    for handle in handles:
        handle.remove()
    seen.clear()
    model(X)
    assert seen == []


def test_hooks_of_a_removed_layer_watch_its_place(follow, operation):
    model, seen = net(), []
    graph = follow(model, X)
    model[1].register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    change_model(model, [operation("remove_layer", graph, "1")], graph)
    model(X)
    assert seen == [8]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_types_modes_and_devices_are_kept(follow, operation, dtype):
    for device in ("cpu", "meta"):
        model = net().to(device, dtype)
        graph = follow(model, X.to(device, dtype))
        model[1].eval()
        made = operation("replace_layer", graph, "1", layer="torch.nn.LayerNorm", arguments={"normalized_shape": [6, 6]})
        bias = operation("set_argument", graph, "0", argument="bias", value=False)
        change_model(model, [bias], graph).undo()
        assert model[0].bias.device.type == device
        change_model(model, [made, operation("replace_layer", graph, "2", layer="torch.nn.PReLU")], graph)
        assert [(p.dtype, p.device.type) for p in (model[1].weight, model[2].weight)] == [(dtype, device)] * 2
        assert [layer.training for layer in model] == [True, False, True]


def test_everything_works_without_numbers(follow, operation, snapshot):
    model = net().to("meta")
    graph, before = follow(model, X.to("meta")), snapshot(model)
    made = [
        operation("set_argument", graph, "0", argument="bias", value=False), operation("swap_layers", graph, "1", "2"),
        operation("wrap_layer", graph, "0", layer="torch.nn.utils.parametrizations.weight_norm"),
    ]  # fmt: skip
    change = change_model(model, made, graph)
    model(X.to("meta"))
    change.undo()
    assert snapshot(model) == before


def test_a_changed_model_can_be_copied_and_pickled(follow, operation):
    model = net()
    graph = follow(model, X)
    change_model(model, [_groups(operation, graph), operation("remove_layer", graph, "2")], graph)
    again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(again(X), model(X))


def test_changes_one_after_another_are_undone_in_the_opposite_order(follow, operation, snapshot):
    model = net().eval()
    before = snapshot(model)
    changes, maps = [], []
    steps = (("1", "GroupNorm", {"num_groups": 4, "num_channels": 8}), ("1", "InstanceNorm2d", {"num_features": 8, "affine": True}))
    for name, layer, arguments in steps:
        graph = follow(model, X)
        made = operation("replace_layer", graph, name, layer=f"torch.nn.{layer}", arguments=arguments)
        changes.append(change_model(model, [made], graph))
        maps.append(changes[-1].key_map)
    state = net().state_dict()
    joined = maps[0].then(maps[1])
    model.load_state_dict(joined.apply(state))
    for change in reversed(changes):
        change.undo()
    after = snapshot(model)
    assert after[0] == before[0]


def test_operations_name_layers_as_they_were_called_before(follow, operation):
    model = net()
    graph = follow(model, X)
    norm = model[1]
    made = [
        operation("swap_layers", graph, "1", "2"), operation("set_argument", graph, "1", argument="eps", value=0.5),
        operation("insert_layer", graph, "2", layer="torch.nn.Dropout", arguments={"p": 0.1}),
    ]  # fmt: skip
    change_model(model, made, graph)
    assert norm.eps == 0.5
    assert repr(model[1]) == "Sequential(\n  (0): ReLU()\n  (1): Dropout(p=0.1, inplace=False)\n)"
    assert model[2] is norm


def test_data_parallel_is_changed_inside(follow, operation):
    model = nn.DataParallel(net())
    graph = follow(model, X)
    change = change_model(model, [_groups(operation, graph, "module.1")], graph)
    assert type(model.module[1]) is nn.GroupNorm
    assert all(key.startswith("module.1.") for key in change.key_map.dropped)


def _scripted_inside():
    return nn.Sequential(torch.jit.script(net()))


def _compiled_in_place():
    model = net()
    model.compile(backend="eager")
    return model


class FakeDDP(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = net()


FakeDDP.__name__ = "DistributedDataParallel"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.jit.script(net()), "is scripted, and its layers cannot be changed; change the model before it is scripted"),
        (lambda: torch.compile(net(), backend="eager"), "the model is compiled; change the model that torch.compile was given"),
        (lambda: nn.Sequential(torch.compile(net(), backend="eager")), "0 is compiled"),
        (_compiled_in_place, "the model is compiled"),
        (FakeDDP, "the model is wrapped in DistributedDataParallel, which knows its parameters; change the model before it is wrapped"),
    ],
)
def test_models_that_are_refused(follow, operation, make, reason):
    graph = follow(net(), X)
    with pytest.raises(CannotChange, match=reason):
        change_model(make(), [_groups(operation, graph)], graph)


def test_layers_that_are_refused(follow, operation, snapshot):
    model = net()
    graph = follow(model, X)

    def refused(broken, reason, *made):
        before = snapshot(broken)
        with pytest.raises(CannotChange, match=reason):
            change_model(broken, made, graph)
        assert snapshot(broken) == before

    parametrized = nn.Sequential(net()[0], nn.utils.parametrizations.weight_norm(nn.BatchNorm2d(8), "weight", dim=None), nn.ReLU())
    refused(parametrized, "1 is parametrized; take the parametrization off before", _groups(operation, graph))
    bound = net()
    bound[1].forward = bound[1].forward
    refused(bound, "1 has a forward of its own that was set on the object", _groups(operation, graph))
    inner = nn.Sequential(net()[0], torch.jit.script(nn.BatchNorm2d(8)), nn.ReLU())
    refused(inner, "1 is a scripted module", _groups(operation, graph))
    refused(nn.Sequential(net()[0]), "the model has no layer 1", _groups(operation, graph))


def test_lazy_layers_are_refused_until_they_have_run(follow, operation):
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU())
    graph = follow(net(), X)
    for made in (operation("set_argument", graph, "0", argument="bias", value=False), _groups(operation, graph)):
        with pytest.raises(CannotChange, match="is lazy and has no shapes yet"):
            change_model(model, [made], graph)
    model(X)
    change_model(model, [operation("set_argument", graph, "0", argument="bias", value=False), _groups(operation, graph)], graph)
    model(X)


def test_the_model_itself_has_no_place(follow, operation):
    model = nn.BatchNorm2d(3)
    graph = follow(model, X)
    part = Part(op="batch_norm", node=graph.nodes[1].name)
    change_model(model, [Operation(kind=OperationKind.SET_ARGUMENT, part=part, argument="eps", value=0.1)], graph)
    assert model.eps == 0.1
    made = Operation(kind=OperationKind.REMOVE_LAYER, part=part)
    with pytest.raises(CannotChange, match="the model: the layer is the model itself"):
        change_model(model, [made], graph)


def test_a_failure_in_the_middle_leaves_nothing_behind(follow, operation, snapshot):
    model = net().eval()
    optimizer = torch.optim.Adam(model.parameters())
    model(X).sum().backward()
    optimizer.step()
    graph, before = follow(model, X), snapshot(model, optimizer)
    made = [
        operation("set_argument", graph, "0", argument="bias", value=False), operation("swap_layers", graph, "1", "2"),
        operation("insert_layer", graph, "0", layer="torch.nn.ReLU"), operation("wrap_layer", graph, "0", layer="torch.nn.Sequential"),
        operation("set_argument", graph, "2", argument="outplace", value=True),
    ]  # fmt: skip
    with pytest.raises(CannotChange, match="has no argument outplace"):
        change_model(model, made, graph, optimizer=optimizer)
    assert snapshot(model, optimizer) == before


def test_graph_modules_are_changed_by_their_targets(follow, operation):
    model = torch.fx.symbolic_trace(net().eval())
    graph, expected = follow(model, X), model(X)
    change = change_model(model, [operation("set_argument", graph, "0", argument="bias", value=False)], graph)
    torch.testing.assert_close(model(X), expected, rtol=1e-4, atol=1e-4)
    change_model(model, [operation("remove_layer", graph, "2")], graph)
    assert (model(X) < 0).any()
    assert change.key_map.dropped == ("0.bias",)


def test_buffers_that_are_not_stored_are_folded_into_but_not_in_the_map(follow, operation):
    class Unstored(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("mean", torch.zeros(4), persistent=False)
            self.register_buffer("var", torch.ones(4), persistent=False)

        def forward(self, x):
            return nn.functional.batch_norm(self.conv(x), self.mean, self.var, training=self.training)

        def state_dict(self):
            return super().state_dict()

    model = Unstored()
    graph = follow(model, X)
    expected = model.eval()(X)
    change = change_model(model, [operation("set_argument", graph, "conv", argument="bias", value=False)], graph)
    torch.testing.assert_close(model(X), expected, rtol=1e-4, atol=1e-4)
    assert (change.key_map.dropped, change.key_map.folded) == (("conv.bias",), ())
