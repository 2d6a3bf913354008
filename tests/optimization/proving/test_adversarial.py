import torch
from torch import nn

from normadvisor.optimization.proving.adversarial import hostile


def test_single_channels_of_a_batch_norm_get_values_at_the_edge():
    model = nn.BatchNorm2d(8)
    hostile(model, seed=0)
    assert sorted(model.running_mean.tolist()) == [0.0] * 7 + [1000.0]
    assert sorted(model.running_var.tolist()) == [torch.tensor(1e-12).item()] + [1.0] * 7
    assert sorted(model.weight.tolist()) == [-1.5, 0.0] + [1.0] * 6


def test_a_norm_without_statistics_gets_scales_alone():
    model = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6))
    before = model[1].weight.detach().clone()
    hostile(model, seed=0)
    assert sorted(model[0].weight.tolist()) == [-1.5, 0.0] + [1.0] * 4
    assert torch.equal(model[1].weight, before)


def test_few_channels_and_no_scales_are_left_alone():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(8, affine=False), nn.GroupNorm(1, 8, affine=False))
    hostile(model, seed=0)
    assert model[0].weight.tolist() == [1.0] * 3
    assert sorted(model[1].running_mean.tolist()) == [0.0] * 7 + [1000.0]


def test_the_seed_says_which():
    chosen = []
    for seed in (0, 0, 1, 2, 3):
        model = nn.BatchNorm2d(64)
        hostile(model, seed)
        chosen.append(int(model.running_mean.argmax()))
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1
