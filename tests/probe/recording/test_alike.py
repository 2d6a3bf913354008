"""Units that are copies of one another, and layers whose outputs grow from run to run."""

from __future__ import annotations

import pytest
import torch

from normadvisor.probe.recording.activations import Run, call_growth
from normadvisor.probe.recording.units import alike_units


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("units", "copies"), [(64, 0), (64, 10), (4096, 0), (4096, 4096)])
def test_alike_units(dtype, units, copies):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(32, units, generator=generator)
    if copies:
        sample[:, :copies] = sample[:, :1]
    assert int(alike_units(sample[:, torch.randperm(units, generator=generator)].to(dtype))) == copies


def test_pairs_and_scaled_units():
    sample = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    sample[:, 3], sample[:, 5] = sample[:, 0], sample[:, 1]
    assert int(alike_units(sample)) == 4
    sample[:, 3], sample[:, 5] = 1.001 * sample[:, 0], -sample[:, 1]
    assert int(alike_units(sample)) == 0


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_units_that_tell_nothing(value):
    assert int(alike_units(torch.full((32, 8), value))) == 0


@pytest.mark.parametrize(
    ("deviations", "size", "expected"),
    [
        ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 10, {"call_growth": 4.0}),
        ([0.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0], 10, {"call_growth": 1.0}),
        ([1.0, 2.0, 4.0, 8.0, 16.0], 10, {}),
        ([0.0] * 6, 10, {}),
    ],
)
def test_call_growth(deviations, size, expected):
    assert call_growth([Run(size, variance=deviation**2) for deviation in deviations]) == expected


def test_runs_of_different_sizes_are_no_recurrence():
    assert call_growth([Run(size, variance=1.0) for size in range(1, 9)]) == {}
