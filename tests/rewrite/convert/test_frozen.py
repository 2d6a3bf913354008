"""The frozen BatchNorm: BatchNorm in eval mode, in every mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.rewrite.convert import FrozenBatchNorm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("cls", "shape"), [(nn.BatchNorm1d, (4, 6)), (nn.BatchNorm1d, (4, 6, 5)), (nn.BatchNorm3d, (2, 6, 3, 2, 2))])
def test_loads_checkpoints_of_batch_norm_and_gives_the_same_numbers(cls, shape, affine):
    norm = cls(6, eps=1e-3, affine=affine)
    norm(torch.randn(shape))
    frozen = FrozenBatchNorm(6, eps=1e-3, affine=affine)
    assert frozen.load_state_dict(norm.state_dict()) == ([], [])
    value = torch.randn(shape)
    assert torch.equal(frozen.train()(value), norm.eval()(value))
    assert list(frozen.parameters()) == []


def test_loads_checkpoints_that_do_not_count_batches():
    state = {name: torch.ones(6) for name in ("weight", "bias", "running_mean", "running_var")}
    frozen = FrozenBatchNorm(6)
    assert frozen.load_state_dict(state) == ([], [])
    assert list(state) == ["weight", "bias", "running_mean", "running_var"]


def test_nothing_moves():
    frozen = FrozenBatchNorm(6)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    frozen.train()(torch.randn(4, 6, 3, 3))
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_is_told_by_its_arguments():
    assert repr(FrozenBatchNorm(6, eps=1e-3, affine=False)) == "FrozenBatchNorm(6, eps=0.001, affine=False)"
