"""Each kind of operation on live models: what they are afterwards, their keys, and that all of it is undone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.model import CannotChange, change_model, put_layers
from normadvisor.types import Operation, OperationKind, Part

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Attributes, called one after the other."""

    def __init__(self, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=bias)
        self.act = nn.ReLU()
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.bn(self.act(self.conv(x))).mean((2, 3)))


class Shared(nn.Module):
    """One activation and one norm that run twice from one attribute."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.act, self.bn = nn.ReLU(), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.act(self.bn(self.conv2(self.act(self.bn(self.conv1(x))))))


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.25)
    )


def trained(model):
    """With numbers that are neither zero nor one anywhere."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


# -- arguments ---------------------------------------------------------------------------------------------------------------


def test_a_bias_is_folded_and_its_key_dropped(follow, operation, snapshot):
    model = trained(plain())
    original = copy.deepcopy(model)
    before = snapshot(model)
    graph = follow(model, X)
    change = change_model(model, [operation("set_argument", graph, name, argument="bias", value=False) for name in ("0", "3")], graph)
    assert model[0].bias is None
    assert change.key_map == KeyMap(
        dropped=("0.bias", "3.bias"), folded=(Fold("0.bias", "1.running_mean"), Fold("3.bias", "4.running_mean"))
    )
    close(model.eval()(X), original.eval()(X))
    torch.manual_seed(3)
    first = model.train()(X)
    torch.manual_seed(3)
    close(first, original.train()(X))
    # A checkpoint of the original, through the map.
    fresh = copy.deepcopy(model)
    trained(fresh)
    fresh.load_state_dict(change.key_map.apply(plain_state := trained(plain()).state_dict()))
    close(fresh.eval()(X), trained(plain()).eval()(X))
    assert "0.bias" in plain_state
    change.undo()
    undone = snapshot(model)
    assert undone[0] == before[0]
    change.undo()


def test_undo_restores_every_bit(follow, operation, snapshot):
    model = trained(plain())
    before, graph = snapshot(model), follow(model, X)
    change = change_model(model, [operation("set_argument", graph, "0", argument="bias", value=False)], graph)
    assert snapshot(model) != before
    change.undo()
    assert snapshot(model) == before


@pytest.mark.parametrize(
    ("layer", "x", "argument", "value"),
    [
        (nn.BatchNorm2d(3), X, "eps", 1e-3), (nn.BatchNorm2d(3), X, "momentum", 0.5), (nn.BatchNorm2d(3), X, "affine", False),
        (nn.BatchNorm2d(3), X, "track_running_stats", False), (nn.BatchNorm2d(3, track_running_stats=False), X, "track_running_stats", True),
        (nn.BatchNorm2d(3, affine=False), X, "affine", True), (nn.BatchNorm2d(5), X, "num_features", 3),
        (nn.GroupNorm(1, 3), X, "num_groups", 3), (nn.LayerNorm(8), X, "eps", 1e-3),
        (nn.LayerNorm(8), X, "elementwise_affine", False), (nn.LayerNorm(8), X, "bias", False), (nn.LayerNorm(8), X, "normalized_shape", [8, 8]),
        (nn.InstanceNorm2d(3), X, "affine", True), (nn.InstanceNorm2d(3), X, "track_running_stats", True), (nn.Dropout(0.5), X, "p", 0.1),
        (nn.ReLU(), X, "inplace", True), (nn.LeakyReLU(), X, "negative_slope", 0.2), (nn.GELU(), X, "approximate", "tanh"),
        (nn.Softmax(1), X, "dim", -1), (nn.Conv2d(3, 4, 3), X, "stride", 2), (nn.Conv2d(3, 4, 3), X, "padding", "same"),
        (nn.Conv2d(3, 4, 3, padding=1), X, "padding_mode", "reflect"), (nn.Conv2d(3, 4, 3, bias=False), X, "bias", True),
        (nn.Linear(8, 4), X, "bias", False), (nn.Linear(8, 4), X, "out_features", 6), (nn.AvgPool2d(2), X, "count_include_pad", False),
        (nn.MaxPool2d(2), X, "ceil_mode", True), (nn.PReLU(), X, "num_parameters", 3), (nn.AdaptiveAvgPool2d(1), X, "output_size", 2),
        (nn.Upsample(scale_factor=2), X, "mode", "bilinear"), (nn.Embedding(4, 3), torch.ones(2, dtype=torch.long), "embedding_dim", 6),
    ],
    ids=lambda value: None if isinstance(value, torch.Tensor) else str(value).partition("(")[0],
)  # fmt: skip
def test_an_argument_does_what_the_constructor_would_have_done(follow, operation, snapshot, layer, x, argument, value):
    model = nn.Sequential(layer)
    graph = follow(model, x) if argument != "num_features" else None
    if graph is None:
        graph = follow(nn.Sequential(nn.Identity()), x)
        graph.modules["0"].op = "batch_norm"
    before = snapshot(model)
    change = change_model(model, [operation("set_argument", graph, "0", argument=argument, value=value)], graph)
    assert model[0] is layer
    given = tuple(value) if isinstance(value, list) else value
    import inspect

    built = {
        key: (getattr(layer, key) is not None and getattr(layer, key) is not False) if key == "bias" else getattr(layer, key)
        for key in inspect.signature(type(layer)).parameters
        if key not in {"device", "dtype"} and hasattr(layer, key) and (key == "bias" or not isinstance(getattr(layer, key), torch.Tensor))
    }
    built[argument] = given
    expected = type(layer)(**built)
    assert repr(layer) == repr(expected)
    expected.load_state_dict(layer.state_dict())
    assert list(expected.state_dict()) == list(layer.state_dict())
    torch.manual_seed(0)
    first = layer(x.clone())
    torch.manual_seed(0)
    torch.testing.assert_close(first, expected(x.clone()))
    change.undo()
    assert snapshot(model)[0] == before[0]


def test_a_value_it_has_already_changes_nothing(follow, operation, snapshot):
    model = plain()
    graph, before = follow(model, X), snapshot(model)
    change = change_model(model, [operation("set_argument", graph, "1", argument="eps", value=1e-5)], graph)
    assert not change.key_map
    assert snapshot(model) == before


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("epsilon", 1.0, r"torch\.nn\.BatchNorm2d has no argument epsilon \(did you mean 'eps'\?\)"),
        ("num_features", "many", r"torch\.nn\.BatchNorm2d\(num_features='many'.*cannot be built"),
    ],
)
def test_arguments_that_do_not_fit(follow, operation, snapshot, argument, value, reason):
    model = plain()
    graph, before = follow(model, X), snapshot(model)
    with pytest.raises(CannotChange, match=reason):
        change_model(model, [operation("set_argument", graph, "1", argument=argument, value=value)], graph)
    assert snapshot(model) == before


def test_an_attribute_of_a_class_of_ones_own(follow, operation):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = 2.0

        def forward(self, x):
            return x * self.by

    model = nn.Sequential(Scale())
    graph = follow(model, X)
    part = operation("remove_layer", graph, "0").part
    from normadvisor.types import Operation, OperationKind, Part

    layer = Part(module="0", op=part.op)
    change = change_model(model, [Operation(kind=OperationKind.SET_ARGUMENT, part=layer, argument="by", value=3.0)], graph)
    assert torch.equal(model(X), X * 3)
    change.undo()
    assert torch.equal(model(X), X * 2)
    with pytest.raises(CannotChange, match=r"0 \(Scale\) has no attribute buy"):
        change_model(model, [Operation(kind=OperationKind.SET_ARGUMENT, part=layer, argument="buy", value=3.0)], graph)


def test_new_numbers_have_the_type_and_the_flag_of_the_layer(follow, operation):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)).double().requires_grad_(False)
    graph = follow(model, X.double())
    change = change_model(model, [operation("set_argument", graph, "0", argument="bias", value=True)], graph)
    assert (model[0].bias.dtype, model[0].bias.requires_grad) == (torch.float64, False)
    assert change.key_map == KeyMap(added=("0.bias",))


# -- replaced ----------------------------------------------------------------------------------------------------------------


def _groups(graph, operation, name, channels=8, groups=4):
    return operation("replace_layer", graph, name, layer="torch.nn.GroupNorm", arguments={"num_groups": groups, "num_channels": channels})


def test_a_norm_is_replaced_with_its_scale_and_shift(follow, operation, snapshot):
    model = trained(plain())
    graph, before, old = follow(model, X), snapshot(model), model[1]
    change = change_model(model, [_groups(graph, operation, "1")], graph)
    assert type(model[1]) is nn.GroupNorm
    assert model[1].weight is old.weight
    assert model[1].bias is old.bias
    assert change.key_map == KeyMap(dropped=("1.running_mean", "1.running_var", "1.num_batches_tracked"))
    assert change.notes == ("1: running_mean, running_var, num_batches_tracked of BatchNorm2d left behind",)
    model.load_state_dict(change.key_map.apply(trained(plain()).state_dict()))
    change.undo()
    assert snapshot(model) == before


def test_statistics_go_along_where_they_mean_the_same(follow, operation):
    model = trained(plain())
    graph, old = follow(model, X), model[1]
    made = operation("replace_layer", graph, "1", layer="torch.nn.SyncBatchNorm", arguments={"num_features": 8})
    change = change_model(model, [made], graph)
    assert type(model[1]) is nn.SyncBatchNorm
    assert all(model[1].get_buffer(name) is buffer for name, buffer in old.named_buffers())
    assert not change.key_map
    assert not change.notes


def test_parameters_that_become_buffers_keep_their_keys(follow, operation):
    model = trained(plain())
    graph, reference = follow(model, X), copy.deepcopy(model).eval()
    made = operation("replace_layer", graph, "1", layer="torchvision.ops.FrozenBatchNorm2d", arguments={"num_features": 8})
    change = change_model(model, [made], graph)
    assert change.key_map == KeyMap(dropped=("1.num_batches_tracked",))
    close(model.eval()(X), reference(X))
    assert not list(model[1].parameters())


def test_an_activation_is_replaced(follow, operation):
    model = plain()
    graph = follow(model, X)
    made = operation("replace_layer", graph, "2", layer="torch.nn.LeakyReLU", arguments={"negative_slope": 0.2})
    change = change_model(model, [made], graph)
    assert repr(model[2]) == "LeakyReLU(negative_slope=0.2)"
    assert not change.key_map


def test_a_handwritten_norm_gives_what_it_has(follow, operation):
    class HandWritten(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.rand(3)), nn.Parameter(torch.rand(3))

        def forward(self, x):
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
            return (x - mean) / (var + 1e-5).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]

    model = nn.Sequential(HandWritten())
    graph, expected = follow(model, X), model(X)
    change = change_model(
        model, [operation("replace_layer", graph, "0", layer="torch.nn.BatchNorm2d", arguments={"num_features": 3})], graph
    )
    close(model(X), expected)
    assert change.key_map == KeyMap(added=("0.running_mean", "0.running_var", "0.num_batches_tracked"))


@pytest.mark.parametrize(
    ("layer", "arguments", "reason"),
    [
        ("os.system", {"command": "true"}, r"os\.system is not built: layers come from torch\.nn"),
        ("torch.nn.GroupsNorm", {}, "there is no torch.nn.GroupsNorm here"),
        ("torch.nn.functional.relu", {}, "is no layer"),
        ("torch.nn.GroupNorm", {"num_groups": 3, "num_channels": 8}, "cannot be built: num_channels"),
        ("torch.nn.GroupNorm", {"groups": 3}, "cannot be built: .*unexpected keyword"),
    ],
)
def test_layers_that_cannot_be_built(follow, operation, snapshot, layer, arguments, reason):
    model = plain()
    graph, before = follow(model, X), snapshot(model)
    with pytest.raises(CannotChange, match=reason):
        change_model(
            model,
            [
                operation("set_argument", graph, "0", argument="bias", value=False),
                operation("replace_layer", graph, "1", layer=layer, arguments=arguments),
            ],
            graph,
        )
    assert snapshot(model) == before


# -- removed -----------------------------------------------------------------------------------------------------------------


def test_a_layer_is_removed_and_the_other_keys_stay(follow, operation, snapshot):
    model = trained(plain()).eval()
    graph, before = follow(model, X), snapshot(model)
    change = change_model(model, [operation("remove_layer", graph, "1"), operation("remove_layer", graph, "2")], graph)
    assert [type(layer).__name__ for layer in model[:3]] == ["Conv2d", "Identity", "Identity"]
    assert change.key_map == KeyMap(
        dropped=tuple(f"1.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))
    )
    model(X)
    change.undo()
    assert snapshot(model) == before


def test_a_layer_that_never_ran_is_removed(follow, operation):
    class Spare(Block):
        def __init__(self):
            super().__init__()
            self.spare = nn.BatchNorm2d(8)

    model = Spare()
    change = change_model(model, [operation("remove_layer", graph := follow(model, X), "spare")], graph)
    assert type(model.spare) is nn.Identity
    assert len(change.key_map.dropped) == 5


def test_one_of_several_runs_is_not_removed(follow, operation, snapshot):
    model = Shared()
    graph, before = follow(model, X), snapshot(model)
    with pytest.raises(CannotChange, match="act runs 2 times and would be removed for only 1 of them; only an edit of the source"):
        change_model(model, [operation("remove_layer", graph, "act", call=1)], graph)
    assert snapshot(model) == before
    change_model(model, [operation("remove_layer", graph, "act", call=call) for call in (0, 1)], graph)
    assert type(model.act) is nn.Identity


def test_a_layer_with_two_arguments_is_not_removed(follow, operation):
    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.join = nn.Bilinear(8, 8, 8)

        def forward(self, x):
            return self.join(x, x + 1)

    model = Bilinear()
    with pytest.raises(CannotChange, match="join is called with more than one argument"):
        change_model(model, [operation("remove_layer", graph := follow(model, X), "join")], graph)


def test_a_call_of_a_function_is_for_the_source(follow, operation):
    class Called(nn.Module):
        def forward(self, x):
            return torch.relu(x).flatten(1)

    model = nn.Sequential(Called())
    with pytest.raises(CannotChange, match="the relu is a call in forward of 0, which only an edit of the source can change"):
        change_model(model, [operation("remove_layer", graph := follow(model, X), "0")], graph)


# -- swapped -----------------------------------------------------------------------------------------------------------------


def test_two_layers_change_places(follow, operation, snapshot):
    model = trained(Block())
    graph, before = follow(model, X), snapshot(model)
    expected = model.head(model.act(model.bn(model.conv(X))).mean((2, 3)))
    model = trained(model)
    change = change_model(model, [operation("swap_layers", graph, "act", "bn")], graph)
    close(model(X), expected)
    assert (type(model.act), type(model.bn)) == (nn.BatchNorm2d, nn.ReLU)
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert change.key_map == KeyMap(renamed={f"bn.{name}": f"act.{name}" for name in names})
    model.load_state_dict(change.key_map.apply(Block().state_dict()))
    change.undo()
    assert [entry[1] for entry in snapshot(model)[0]] == [entry[1] for entry in before[0]]


def test_a_plain_list_beside_the_attributes_follows(follow, operation, snapshot):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.bn = nn.ReLU(), nn.BatchNorm2d(3)
            self.order = [self.act, {"norm": self.bn}]

        def forward(self, x):
            return self.order[1]["norm"](self.order[0](x))

    model = Listed()
    graph, before = follow(model, X), snapshot(model)
    change = change_model(model, [operation("swap_layers", graph, "act", "bn")], graph)
    assert model.order[0] is model.act
    assert type(model.order[0]) is nn.BatchNorm2d
    assert type(model.order[1]["norm"]) is nn.ReLU
    change.undo()
    assert model.order[0] is model.act
    assert snapshot(model) == before


def test_a_tuple_beside_the_attributes_is_in_the_way(follow, operation, snapshot):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(3)
            self.order = (self.bn,)

        def forward(self, x):
            return self.order[0](x)

    model = nn.Sequential(Fixed())
    graph, before = follow(model, X), snapshot(model)
    with pytest.raises(CannotChange, match=r"0\.bn: the layer also stands in order of 0, which cannot be written to"):
        change_model(model, [operation("remove_layer", graph, "0.bn")], graph)
    assert snapshot(model) == before


def test_what_is_needed_elsewhere_does_not_move(follow, operation):
    class Branch(Block):
        def forward(self, x):
            x = self.act(self.conv(x))
            return self.bn(x) + x

    model = Branch()
    with pytest.raises(CannotChange, match="what act gives does not go to bn alone"):
        change_model(model, [operation("swap_layers", graph := follow(model, X), "act", "bn")], graph)


def test_shared_layers_do_not_move(follow, operation):
    model = Shared()
    with pytest.raises(CannotChange, match="bn runs 2 times; only an edit of the source can tell its calls apart"):
        change_model(model, [operation("swap_layers", graph := follow(model, X), "bn", "act")], graph)


# -- inserted, separated, wrapped ---------------------------------------------------------------------------------------------


def test_a_layer_is_inserted(follow, operation, snapshot):
    model = trained(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    graph, before = follow(model, X), snapshot(model)
    expected = model[1](torch.relu(model[0](X)))
    change = change_model(model, [operation("insert_layer", graph, "0", layer="torch.nn.ReLU", arguments={"inplace": True})], graph)
    close(model(X), expected)
    assert change.key_map == KeyMap(renamed={"0.weight": "0.0.weight", "0.bias": "0.0.bias"})
    change.undo()
    assert snapshot(model) == before


def test_a_layer_is_inserted_after_every_run_or_none(follow, operation):
    model = Shared()
    graph = follow(model, X)
    with pytest.raises(CannotChange, match="bn runs 2 times and would be followed by another layer for only 1"):
        change_model(model, [operation("insert_layer", graph, "bn", layer="torch.nn.ReLU")], graph)
    change_model(model, [operation("insert_layer", graph, "bn", call=call, layer="torch.nn.ReLU") for call in (0, 1)], graph)
    assert [type(layer) for layer in model.bn] == [nn.BatchNorm2d, nn.ReLU]


def test_a_norm_in_several_places_is_separated(follow, operation, snapshot):
    norm = nn.BatchNorm2d(3)
    model = trained(nn.Sequential(nn.Conv2d(3, 3, 3), norm, nn.ReLU(), nn.Conv2d(3, 3, 3), norm))
    graph, before, original = follow(model, X), snapshot(model), copy.deepcopy(model)
    change = change_model(model, [operation("separate_layers", graph, "1", call=call) for call in (0, 1)], graph)
    assert model[1] is norm
    assert model[4] is not norm
    assert not change.key_map  # The shared norm stood under both names before.
    close(model.eval()(X), original.eval()(X))
    model.load_state_dict(change.key_map.apply(original.state_dict()))
    change.undo()
    assert snapshot(model.train()) == before


def test_a_norm_in_one_place_is_for_the_source_to_separate(follow, operation):
    model = Shared()
    graph = follow(model, X)
    with pytest.raises(CannotChange, match="bn runs 2 times from 1 place; only an edit of the source can separate it"):
        change_model(model, [operation("separate_layers", graph, "bn")], graph)
    with pytest.raises(CannotChange, match="conv1 does not run several times"):
        change_model(model, [operation("separate_layers", graph, "conv1")], graph)


def test_a_layer_is_wrapped_in_a_function(follow, operation, snapshot):
    model = trained(plain())
    graph, before, expected, bias = follow(model, X), snapshot(model), model.eval()(X), model[0].bias
    model.train()
    made = operation("wrap_layer", graph, "0", layer="torch.nn.utils.parametrizations.weight_norm", arguments={"dim": 0})
    change = change_model(model, [made], graph)
    assert model[0].bias is bias
    assert [name for name, _ in model[0].named_parameters()] == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    assert (change.key_map.dropped, change.key_map.added) == (
        ("0.weight",), ("0.parametrizations.weight.original0", "0.parametrizations.weight.original1")
    )  # fmt: skip
    model.load_state_dict(trained(plain()).state_dict() | model.state_dict(), strict=False)
    close(model.eval()(X), expected)
    change.undo()
    assert [entry[1] for entry in snapshot(model)[0]] == [entry[1] for entry in before[0]]


def test_what_a_wrapper_leaves_alone_stays_the_same_object(follow, operation):
    model = plain()
    graph, weight = follow(model, X), model[0].weight
    change = change_model(model, [operation("wrap_layer", graph, "0", layer="torch.nn.utils.parametrizations.spectral_norm")], graph)
    assert model[0].parametrizations.weight.original is weight
    assert change.key_map.renamed == {"0.weight": "0.parametrizations.weight.original"}
    change.undo()
    assert model[0].weight is weight


def test_a_wrapper_of_old_keeps_its_hook_and_the_users(follow, operation):
    model = plain()
    graph, seen = follow(model, X), []
    handle = model[0].register_forward_pre_hook(lambda *_: seen.append(1))
    old = model[0]
    with pytest.warns(FutureWarning, match="weight_norm"):
        change = change_model(model, [operation("wrap_layer", graph, "0", layer="torch.nn.utils.weight_norm")], graph)
    model(X)
    assert (seen, len(model[0]._forward_pre_hooks)) == ([1], 2)
    handle.remove()
    model(X)
    assert seen == [1]
    change.undo()
    assert model[0] is old
    assert not old._forward_pre_hooks


def test_a_layer_is_wrapped_in_a_layer(follow, operation):
    model = trained(plain())
    graph = follow(model, X)
    change = change_model(model, [operation("wrap_layer", graph, "2", layer="torch.nn.Sequential")], graph)
    assert repr(model[2]) == "Sequential(\n  (0): ReLU()\n)"
    assert not change.key_map
    with pytest.raises(CannotChange, match=r"torch\.nn\.functional\.relu does not take the layer"):
        change_model(model, [operation("wrap_layer", graph, "2", layer="torch.nn.functional.relu")], graph)


# -- calls in forward ----------------------------------------------------------------------------------------------------------


class Standardized(nn.Conv2d):
    """A class of torch with a forward of its own."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Own(nn.Module):
    """A convolution that nobody calls one."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(8, 3, 3, 3)), nn.Parameter(torch.rand(8))

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight, self.bias)


@pytest.mark.parametrize("make", [lambda: Standardized(3, 8, 3), Own])
def test_the_bias_that_forward_hands_to_a_function_is_left_out(make, follow, operation, snapshot):
    model = trained(nn.Sequential(make(), nn.BatchNorm2d(8)))
    expected, graph = model.eval()(X), follow(model.train(), X)
    part = next(node for node in graph.nodes if node.op == "conv")
    assert not part.cls
    before = snapshot(model.eval())
    wanted = Operation(kind=OperationKind.SET_ARGUMENT, part=Part("0", part.name, "conv", is_layer=False), argument="bias", value=False)
    change = change_model(model, [wanted], graph)
    assert model[0].bias is None
    assert change.key_map == KeyMap(dropped=("0.bias",), folded=(Fold("0.bias", "1.running_mean"),))
    close(model(X), expected)
    change.undo()
    assert snapshot(model) == before


# -- put -----------------------------------------------------------------------------------------------------------------------


def test_layers_of_ones_own_are_put(snapshot):
    model = trained(plain())
    before, new = snapshot(model), nn.GroupNorm(2, 8)
    new.weight = model[1].weight
    with torch.no_grad():
        new.bias.copy_(model[1].bias)
    change = put_layers(model, {"1": new, "2": nn.Sequential(model[2], nn.Identity())}, origins=[(new.bias, model[1].bias)])
    assert model[1] is new
    assert change.key_map == KeyMap(dropped=("1.running_mean", "1.running_var", "1.num_batches_tracked"))
    change.undo()
    assert snapshot(model) == before
    with pytest.raises(CannotChange, match="the model has no layer 9"):
        put_layers(model, {"1": new, "9": new})
    assert snapshot(model) == before
