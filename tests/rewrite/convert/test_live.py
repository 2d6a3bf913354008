"""Whole models converted in place: what the new layers are, and everything of the old ones that goes on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from normadvisor.errors import UsageError
from normadvisor.rewrite.convert import Converted, FrozenBatchNorm, convert_norms
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model import CannotChange

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(model):
    """With numbers that are neither zero nor one anywhere."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


def net():
    return trained(nn.Sequential(nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24, eps=1e-3), nn.ReLU(), nn.Conv2d(24, 6, 3), nn.BatchNorm2d(6)))


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("group_norm", [nn.GroupNorm(12, 24, eps=1e-3), nn.GroupNorm(3, 6)]),
        ("layer_norm", [nn.GroupNorm(1, 24, eps=1e-3), nn.GroupNorm(1, 6)]),
        ("sync_batch_norm", [nn.SyncBatchNorm(24, eps=1e-3), nn.SyncBatchNorm(6)]),
        ("frozen_batch_norm", [FrozenBatchNorm(24, eps=1e-3), FrozenBatchNorm(6)]),
        ("instance_norm", [nn.InstanceNorm2d(24, eps=1e-3, affine=True), nn.InstanceNorm2d(6, affine=True)]),
    ],
)
def test_becomes_the_norm_with_scale_and_shift(to, expected):
    model = net()
    old = [copy.deepcopy(model[index]) for index in (1, 4)]
    result = convert_norms(model, to)
    assert [repr(model[index]) for index in (1, 4)] == [repr(layer) for layer in expected]
    assert [type(model[index]) for index in (1, 4)] == [type(layer) for layer in expected]
    for before, after in zip(old, (model[1], model[4]), strict=True):
        for name, value in after.state_dict().items():
            assert torch.equal(value, before.state_dict()[name])
    assert [item.name for item in result.converted] == ["1", "4"]
    assert result.skipped == ()


def test_tells_what_was_converted_and_which_keys_left():
    model = nn.Sequential(nn.BatchNorm1d(8))
    result = convert_norms(model, "group_norm")
    old, new = str(nn.BatchNorm1d(8)), str(nn.GroupNorm(4, 8))
    assert result.converted == (Converted("0", old, new),)
    assert result.key_map == KeyMap(dropped=("0.running_mean", "0.running_var", "0.num_batches_tracked"))
    assert str(result) == f"1 layer converted\n  0: {old} -> {new}"


def test_old_checkpoints_load_by_the_key_map():
    model = net()
    checkpoint = copy.deepcopy(model.state_dict())
    keys = convert_norms(model, "group_norm").key_map
    assert model.load_state_dict(keys.apply(checkpoint)) == ([], [])


@pytest.mark.parametrize("to", ["frozen_batch_norm", "sync_batch_norm"])
def test_norms_with_the_same_statistics_are_the_same_in_eval_mode(to):
    model = net().eval()
    expected = model(X)
    convert_norms(model, to)
    assert torch.equal(expected, model(X))


def test_one_group_normalizes_each_sample():
    model = nn.Sequential(nn.BatchNorm1d(8))
    convert_norms(model, "layer_norm")
    value = torch.randn(5, 8)
    torch.testing.assert_close(model(value), nn.functional.layer_norm(value, (8,)))


def test_chosen_by_globs():
    def converted(layers):
        model = nn.ModuleDict({"a": net(), "b": net()})
        return [item.name for item in convert_norms(model, "group_norm", layers=layers).converted]

    assert converted("a.*") == ["a.1", "a.4"]
    assert converted(["a.*", "b.4"]) == ["a.1", "a.4", "b.4"]
    assert converted("!a.*") == ["b.1", "b.4"]
    assert converted(["*", "!*.1"]) == ["a.4", "b.4"]
    assert converted("nothing") == []


def test_shared_layers_stay_shared_and_are_known_by_any_name():
    norm = nn.BatchNorm2d(8)
    model = nn.ModuleDict({"a": norm, "b": norm})
    assert [item.name for item in convert_norms(model, "group_norm", layers="b").converted] == ["a"]
    assert model["a"] is model["b"]
    assert isinstance(model["a"], nn.GroupNorm)


def test_keeps_mode_hooks_and_frozen_parameters():
    model = net().train()
    model[1].eval()
    model[1].bias.requires_grad_(False)
    seen = []
    model[1].register_forward_hook(lambda module, _inputs, _output: seen.append(type(module)))
    convert_norms(model, "group_norm")
    model(X)
    assert [layer.training for layer in (model[1], model[4])] == [False, True]
    assert [value.requires_grad for value in model[1].parameters()] == [True, False]
    assert seen == [nn.GroupNorm]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_keeps_the_type_on_the_meta_device(dtype):
    model = net().to("meta", dtype)
    convert_norms(model, "frozen_batch_norm", layers="1")
    convert_norms(model, "group_norm", layers="4")
    values = [value for value in [*model.parameters(), *model.buffers()] if value.is_floating_point()]
    assert {(value.device.type, value.dtype) for value in values} == {("meta", dtype)}


def test_the_optimizer_goes_on():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(X).square().sum().backward()
    optimizer.step()
    weight = model[1].weight
    convert_norms(model, "group_norm", optimizer=optimizer)
    assert model[1].weight is weight
    assert "momentum_buffer" in optimizer.state[weight]
    assert {id(value) for value in optimizer.param_groups[0]["params"]} == {id(value) for value in model.parameters()}


def test_frozen_parameters_leave_the_optimizer():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    result = convert_norms(model, "frozen_batch_norm", optimizer=optimizer)
    assert len(optimizer.param_groups[0]["params"]) == 4
    assert result.key_map == KeyMap()
    result.undo()
    assert len(optimizer.param_groups[0]["params"]) == 8
    assert isinstance(model[1], nn.BatchNorm2d)


def test_without_scale_shift_or_statistics():
    shiftless = nn.BatchNorm2d(8)
    shiftless.bias = None  # what `bias=False` does where the constructor has it
    model = nn.Sequential(nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, track_running_stats=False), shiftless)
    frozen = convert_norms(copy.deepcopy(model), "frozen_batch_norm")
    assert frozen.skipped == (("1", "it has no running statistics that could be frozen"),)
    convert_norms(model, "group_norm")
    assert list(model.state_dict()) == ["1.weight", "1.bias", "2.weight"]
    assert model(torch.randn(2, 8, 4, 4)).shape == (2, 8, 4, 4)


def test_left_as_it_was_with_a_reason():
    class Odd(nn.BatchNorm2d):
        def forward(self, input):  # noqa: A002
            return super().forward(input) * 2

    changed, parametrized = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    changed.forward = torch.relu
    parametrize.register_parametrization(parametrized, "weight", nn.Softplus())
    model = nn.Sequential(Odd(4), nn.LazyBatchNorm2d(), changed, parametrized, nn.BatchNorm2d(4))
    before = list(model)
    result = convert_norms(model, "group_norm")
    assert dict(result.skipped) == {
        "0": "Odd does something else than BatchNorm followed by its children",
        "1": "1 is lazy and has no shapes yet; run the model once before",
        "2": "2 has a forward of its own that was set on the object",
        "3": "3 is parametrized; take the parametrization off before",
    }
    assert list(model)[:4] == before[:4]
    assert [item.name for item in result.converted] == ["4"]


def test_one_layer_that_cannot_be_replaced_does_not_hold_the_others_back():
    model = net()
    model.kept = (model[1],)
    result = convert_norms(model, "group_norm")
    assert result.skipped == (("1", "1: the layer also stands in kept of the model, which cannot be written to"),)
    assert [item.name for item in result.converted] == ["4"]


def test_the_model_itself():
    assert convert_norms(nn.BatchNorm2d(4), "group_norm").skipped == (
        ("", "it is the model itself, and there is no place to put another layer"),
    )


def test_sync_batch_norm_stays_and_becomes_the_others():
    model = nn.Sequential(nn.SyncBatchNorm(8))
    assert convert_norms(model, "sync_batch_norm").skipped == (("0", "it is a SyncBatchNorm already"),)
    convert_norms(model, "instance_norm")
    value = torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(model(value), nn.functional.instance_norm(value))


def test_errors():
    with pytest.raises(UsageError, match="there is no conversion to 'groupnorm'") as raised:
        convert_norms(net(), "groupnorm")
    assert "group_norm" in raised.value.hint
    with pytest.raises(UsageError, match="a norm cannot have 0 groups"):
        convert_norms(net(), "group_norm", groups=0)
    with pytest.raises(CannotChange, match="is scripted"):
        convert_norms(torch.jit.script(net()), "group_norm")
