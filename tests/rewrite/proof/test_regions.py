"""Large sequences are proven around what was changed in them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.proof import prove
from normadvisor.targets.inputs import Inputs

IMAGES = Inputs((torch.zeros(2, 3, 128, 128),))
LITTLE = 1 << 24
"""Bytes that are not enough for the head."""


class Large(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (3, 8, 8):
            layers += [nn.Conv2d(width, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(8, 200_000)
        self.scale = 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3))) * self.scale


def _changed(change: Callable[[Large], None]) -> Large:
    model = Large()
    change(model)
    return model


def _take_biases(model: Large) -> None:
    for index in (0, 10):
        model.features[index].register_parameter("bias", None)


def test_slices_of_a_sequence_are_enough() -> None:
    keys = KeyMap(
        dropped=("features.0.bias", "features.10.bias"),
        folded=(Fold("features.0.bias", "features.1.running_mean"), Fold("features.10.bias", "features.11.running_mean")),
    )
    proof = prove(Large(), _changed(_take_biases), IMAGES, keys, memory=LITTLE)
    assert proof.equal, str(proof)
    assert proof.what == "outputs, gradients and buffers of features[0:2], features[10:12], which hold all that was changed,"


def _remove(index: int) -> tuple[Large, KeyMap]:
    model = Large()
    del model.features[index]
    moved = {f"features.{old}": f"features.{old - 1}" for old in (10, 11)}
    keys = [key for key in Large().state_dict() if key.rpartition(".")[0] in moved]
    return model, KeyMap(renamed={key: f"{moved[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in keys})


def test_what_is_only_right_where_it_stands_is_proven_with_what_is_around_it() -> None:
    changed, keys = _remove(8)
    proof = prove(Large(), changed, IMAGES, keys, parts=[["features.8"]], memory=LITTLE)
    assert proof.equal, str(proof)
    assert proof.what == "outputs, gradients and buffers of features[6:11], which hold all that was changed,"


def test_a_slice_that_differs_is_found() -> None:
    changed, keys = _remove(9)
    proof = prove(Large(), changed, IMAGES, keys, parts=[["features.9"]], memory=LITTLE)
    wanted = "in features: the output 0 is 2x8x16x16 of float64 instead of 2x8x8x8 of float64 in train mode"
    assert (proof.equal, proof.reason) == (False, wanted)


def _other_scale(model: Large) -> None:
    _take_biases(model)
    model.scale = 0.25


def _other_pool(model: Large) -> None:
    _take_biases(model)
    model.features[4] = nn.AvgPool2d(2)


class _Other(Large):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).amax((2, 3))) * self.scale


def _other_code(model: Large) -> None:
    _take_biases(model)
    model.__class__ = _Other


@pytest.mark.parametrize("change", [_other_scale, _other_pool, _other_code])
def test_what_changed_around_the_slices_is_not_missed(change: Callable[[Large], None]) -> None:
    keys = KeyMap(
        dropped=("features.0.bias", "features.10.bias"),
        folded=(Fold("features.0.bias", "features.1.running_mean"), Fold("features.10.bias", "features.11.running_mean")),
    )
    assert not prove(Large(), _changed(change), IMAGES, keys, memory=LITTLE).equal


class Peeking(Large):
    """Reads what an element in the middle gives, past the sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.features[0](x).mean()


def test_elements_that_are_called_from_elsewhere_are_not_cut_out() -> None:
    changed = Peeking()
    _take_biases(changed)
    keys = KeyMap(
        dropped=("features.0.bias", "features.10.bias"),
        folded=(Fold("features.0.bias", "features.1.running_mean"), Fold("features.10.bias", "features.11.running_mean")),
    )
    assert not prove(Peeking(), changed, IMAGES, keys, memory=LITTLE).equal
    assert not prove(Peeking(), copy.deepcopy(changed), IMAGES, keys).equal
