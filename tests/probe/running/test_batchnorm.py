"""Noise of batch statistics against theory, and what running statistics go to."""

import math

import pytest
import torch
from torch import nn

from normadvisor.probe.running.batchnorm import (
    Statistics,
    assign_settled,
    follows,
    norm_layers,
    running_of,
    statistics_noise,
    watching_statistics,
)


def independent(count, batch, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *shape, generator=generator) for _ in range(count)]


def facts_of(measured, name):
    return next(layer.facts for layer in measured.layers if layer.name == name)


@pytest.mark.parametrize(("batch", "positions"), [(4, 1), (16, 1), (64, 1), (8, 16), (2, 64)])
def test_noise_of_independent_values_is_that_of_theory(probe, batch, positions):
    """Standard deviation of the mean of n values: 1 / sqrt(n); relative one of their variance: sqrt(2 / (n - 1))."""
    channels = 4096 // positions
    model = nn.Sequential(nn.BatchNorm1d(channels), nn.Flatten(), nn.Linear(channels * positions, 2))
    data = [(x, torch.zeros(batch, dtype=torch.long)) for x in independent(10, batch, *((channels, positions) if positions > 1 else (channels,)))]
    facts = facts_of(probe(model, batches=data), "0")
    n = batch * positions
    assert facts["bn_mean_noise"] == pytest.approx(1 / math.sqrt(n), rel=0.08)
    assert facts["bn_var_noise"] == pytest.approx(math.sqrt(2 / (n - 1)), rel=0.1)


@pytest.mark.parametrize("batch", [8, 32])
def test_how_far_a_sample_moves_agrees_with_a_simulation_of_its_own(probe, batch):
    channels = 2048
    model = nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, 2))
    data = [(x, torch.zeros(batch, dtype=torch.long)) for x in independent(10, batch, channels)]
    measured = facts_of(probe(model, batches=data), "0")["bn_noise"]
    generator = torch.Generator().manual_seed(99)
    fixed = torch.randn(1, channels, generator=generator, dtype=torch.float64)
    moved = []
    for _ in range(200):
        x = torch.cat([fixed, torch.randn(batch - 1, channels, generator=generator, dtype=torch.float64)])
        moved.append(((x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt())[0])
    assert measured == pytest.approx(float(torch.stack(moved).var(0).mean().sqrt()), rel=0.08)


def test_noise_from_one_batch_is_that_of_batches_drawn_from_its_samples(probe):
    channels, batch = 2048, 64
    model = nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, 2))
    measured = probe(model, batches=[(independent(1, batch, channels)[0], torch.zeros(batch, dtype=torch.long))])
    assert facts_of(measured, "0")["bn_mean_noise"] == pytest.approx(1 / math.sqrt(batch), rel=0.08)
    assert "BatchNorm noise: batches were drawn again from the 64 samples given" in measured.notes


def test_constant_channels_are_left_out():
    found = Statistics()
    for mean, var in ((0.1, 1.1), (-0.1, 0.9)):
        found.means.append(torch.tensor([mean, 0.0], dtype=torch.float64))
        found.variances.append(torch.tensor([var, 0.0], dtype=torch.float64))
    noise = statistics_noise(found, 1)
    assert noise == (pytest.approx(math.sqrt(0.02 / 1.02)), pytest.approx(math.sqrt(0.02)))


def test_one_pass_or_dead_channels_alone_give_no_noise():
    dead = Statistics([torch.zeros(2).double()] * 2, [torch.zeros(2).double()] * 2)
    assert (statistics_noise(Statistics([torch.zeros(2).double()], [torch.ones(2).double()]), 1), statistics_noise(dead, 1)) == (None, None)


@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_settled_statistics_are_those_of_long_training(momentum):
    """After so many passes that nothing of the start is left, the running statistics stand at the means over the batches."""
    batches = independent(8, 16, 5, 6, 6)
    short, long = nn.BatchNorm2d(5, momentum=momentum), nn.BatchNorm2d(5, momentum=None)
    layers = norm_layers(short, {})
    start = running_of(layers)
    with watching_statistics(layers) as seen:
        for x in batches:
            short(3 * x + 2)
            long(3 * x + 2)
    assert assign_settled(layers, seen, start) == [""]
    torch.testing.assert_close(short.running_mean, long.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(short.running_var, long.running_var, rtol=1e-5, atol=1e-6)


def test_instance_norms_and_wrappers_are_no_batch_norms():
    model = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True), nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.GroupNorm(1, 3))
    assert list(norm_layers(model, {})) == ["1", "2"]


def test_statistics_that_stand_where_the_batch_is_say_nothing():
    same = (torch.zeros(2).double(), torch.ones(2).double())
    found = Statistics([torch.zeros(2).double()], [torch.full((2,), 0.75).double()], [4], [same], [same])
    assert follows(found) == (None, None)


def test_statistics_that_go_the_wrong_way_do_not_follow():
    found = Statistics(
        [torch.ones(2).double()], [torch.ones(2).double()], [1000],
        [(torch.zeros(2).double(), torch.ones(2).double())], [(-0.1 * torch.ones(2).double(), torch.ones(2).double())],
    )  # fmt: skip
    assert follows(found) == (False, pytest.approx(-0.1, rel=1e-3))
