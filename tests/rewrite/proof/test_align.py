from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.proof import align, prove
from normadvisor.targets.inputs.spec import Inputs
from normadvisor.types.operation import Operation, OperationKind, Part

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
LINEAR = ("weight", "bias")


def aligned(original: nn.Module, changed: nn.Module, *operations: Operation) -> KeyMap:
    inputs = Inputs((torch.randn(2, 3, 8, 8),), given=True)
    graph = trace(original, inputs, target="net", sites={})
    keys = align(original, changed, operations, graph)
    # Whatever it says, it must lead from all keys to all keys.
    carried = keys.apply(original.state_dict())
    assert carried.keys() | set(keys.added) == changed.state_dict().keys()
    assert all(value.shape == changed.state_dict()[key].shape for key, value in carried.items())
    return keys


def renamed(old: str, new: str, keys: tuple[str, ...]) -> dict[str, str]:
    return {f"{old}.{key}": f"{new}.{key}" for key in keys}


def operation(kind: str, module: str, other: str = "", **words: object) -> Operation:
    return Operation(kind=OperationKind(kind), part=Part(module), other=Part(other) if other else None, **words)


def conv(bias: bool = True) -> nn.Module:
    return nn.Conv2d(3, 3, 3, padding=1, bias=bias)


def norm() -> nn.Module:
    return nn.BatchNorm2d(3)


def test_a_bias_is_folded_into_the_norm_behind_it() -> None:
    original, changed = nn.Sequential(conv(), norm()), nn.Sequential(conv(bias=False), norm())
    keys = aligned(original, changed, operation("set_argument", "0", argument="bias", value=False))
    assert keys == KeyMap(dropped=("0.bias",), folded=(Fold("0.bias", "1.running_mean"),))
    assert prove(original, changed, Inputs((torch.randn(2, 3, 8, 8),)), keys).equal


def test_what_stands_behind_a_removed_element_moves_up() -> None:
    original = nn.Sequential(conv(), nn.ReLU(), nn.ReLU(), norm(), conv())
    changed = nn.Sequential(conv(), nn.ReLU(), norm(), conv())
    keys = aligned(original, changed, operation("remove_layer", "2"))
    assert keys == KeyMap(renamed=renamed("3", "2", NORM) | renamed("4", "3", LINEAR))


@pytest.mark.parametrize("call", ["1", "3"])
def test_a_shared_element_goes_where_the_classes_say(call: str) -> None:
    act = nn.ReLU()
    original = nn.Sequential(conv(), act, norm(), act, conv())
    changed = nn.Sequential(*(layer for index, layer in enumerate(original) if str(index) != call))
    keys = aligned(original, changed, operation("remove_layer", "1"))
    shift = renamed("2", "1", NORM) if call == "1" else {}
    assert keys == KeyMap(renamed=shift | renamed("4", "3", LINEAR))


def test_names_stay_where_a_place_is_filled() -> None:
    original = nn.Sequential(conv(), norm(), norm(), conv())
    changed = nn.Sequential(conv(), norm(), nn.Identity(), conv())
    keys = aligned(original, changed, operation("remove_layer", "2"))
    assert keys == KeyMap(dropped=tuple(f"2.{key}" for key in NORM))


def test_elements_trade_places() -> None:
    original, changed = nn.Sequential(conv(), nn.ReLU(), norm()), nn.Sequential(conv(), norm(), nn.ReLU())
    assert aligned(original, changed, operation("swap_layers", "1", "2")) == KeyMap(renamed=renamed("2", "1", NORM))


def test_swapped_calls_leave_keys_alone() -> None:
    original, changed = nn.Sequential(conv(), nn.ReLU(), norm()), nn.Sequential(conv(), nn.ReLU(), norm())
    assert aligned(original, changed, operation("swap_layers", "1", "2")) == KeyMap()


def test_named_elements_keep_their_names() -> None:
    original = nn.Sequential(OrderedDict(conv=conv(), act=nn.ReLU(), norm=norm()))
    changed = nn.Sequential(OrderedDict(conv=conv(), norm=norm(), act=nn.ReLU()))
    assert aligned(original, changed, operation("swap_layers", "act", "norm")) == KeyMap()
    assert aligned(original, nn.Sequential(OrderedDict(conv=conv(), norm=norm())), operation("remove_layer", "act")) == KeyMap()


def test_constructors_that_traded_attributes() -> None:
    original = nn.Sequential(OrderedDict(conv=conv(), a=nn.ReLU(), b=norm()))
    changed = nn.Sequential(OrderedDict(conv=conv(), a=norm(), b=nn.ReLU()))
    assert aligned(original, changed, operation("swap_layers", "a", "b")) == KeyMap(renamed=renamed("b", "a", NORM))


def test_what_stands_behind_a_new_element_moves_down() -> None:
    original, changed = nn.Sequential(conv(), conv(), norm()), nn.Sequential(conv(), nn.PReLU(), conv(), norm())
    keys = aligned(original, changed, operation("insert_layer", "0", layer="torch.nn.PReLU"))
    assert keys == KeyMap(renamed=renamed("1", "2", LINEAR) | renamed("2", "3", NORM), added=("1.weight",))


def test_another_norm_takes_over_what_it_has_as_well() -> None:
    original, changed = nn.Sequential(conv(), norm()), nn.Sequential(conv(), nn.GroupNorm(1, 3))
    keys = aligned(original, changed, operation("replace_layer", "1", layer="torch.nn.GroupNorm"))
    assert keys == KeyMap(dropped=("1.running_mean", "1.running_var", "1.num_batches_tracked"))


def test_a_wrapped_layer_has_new_keys() -> None:
    original = nn.Sequential(conv(), nn.ReLU())
    changed = nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), nn.ReLU())
    keys = aligned(original, changed, operation("wrap_layer", "0", layer="torch.nn.utils.parametrizations.weight_norm"))
    assert keys.dropped == ("0.weight",)
    assert keys.added == ("0.parametrizations.weight.original0", "0.parametrizations.weight.original1")


class Shared(nn.Module):
    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.conv, self.norm = conv(), norm()
        if apart:
            self.norm_2 = norm()
        self.apart = apart

    def forward(self, x):
        return (self.norm_2 if self.apart else self.norm)(self.conv(self.norm(x)))


def test_a_separated_layer_has_the_values_of_the_shared_one() -> None:
    original = nn.Sequential(Shared(apart=False), Shared(apart=False))
    changed = nn.Sequential(Shared(apart=True), Shared(apart=False))
    keys = aligned(original, changed, operation("separate_layers", "0.norm"))
    assert keys == KeyMap(copied={f"0.norm_2.{key}": f"0.norm.{key}" for key in NORM})


def test_several_changes_at_once_in_several_lists() -> None:
    def block(*layers: nn.Module) -> nn.Module:
        return nn.Sequential(*layers)

    original = block(block(conv(), nn.ReLU(), norm(), nn.Dropout()), nn.ReLU(), block(conv(), norm(), nn.ReLU(), nn.ReLU()), conv())
    changed = block(block(conv(), norm(), nn.ReLU()), block(conv(bias=False), norm(), nn.ReLU()), conv())
    keys = aligned(
        original, changed, operation("swap_layers", "0.1", "0.2"), operation("remove_layer", "0.3"), operation("remove_layer", "1"),
        operation("remove_layer", "2.3"), operation("set_argument", "2.0", argument="bias", value=False),
    )  # fmt: skip
    assert keys == KeyMap(
        renamed=renamed("0.2", "0.1", NORM) | {"2.0.weight": "1.0.weight"} | renamed("2.1", "1.1", NORM) | renamed("3", "2", LINEAR),
        dropped=("2.0.bias",),
        folded=(Fold("2.0.bias", "2.1.running_mean"),),
    )


def test_an_edit_that_did_something_else_is_told_by_classes_and_shapes() -> None:
    original = nn.Sequential(conv(), norm(), nn.Conv2d(3, 5, 1), nn.ReLU())
    changed = nn.Sequential(norm(), nn.Conv2d(3, 5, 1), nn.ReLU())
    assert aligned(original, changed) == KeyMap(renamed=renamed("1", "0", NORM) | renamed("2", "1", LINEAR), dropped=("0.weight", "0.bias"))
