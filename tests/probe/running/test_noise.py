"""The gradient noise scale where it is known in closed form."""

import pytest
import torch
from torch import nn

SAMPLES = 64


class Linear(nn.Module):
    """``w . x``: with the mean of its outputs as the loss, the gradient of a sample is the sample itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x @ self.weight


def loss_fn(output):
    return output.mean()


def samples(batches, width, mean, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [mean + torch.randn(SAMPLES, width, generator=generator) for _ in range(batches)]


@pytest.mark.parametrize(("mean", "width"), [(0.5, 4096), (0.2, 4096), (0.1, 16384)])
def test_it_is_trace_of_covariance_over_squared_gradient(probe, mean, width):
    """Samples of N(mean, 1) in ``width`` dimensions: width / (width mean^2) = 1 / mean^2."""
    measured = probe(Linear(width), batches=samples(8, width, mean), loss_fn=loss_fn)
    assert measured.facts["noise_scale"] == pytest.approx(1 / mean**2, rel=0.1)
    assert [layer.facts["noise_scale"] for layer in measured.layers] == pytest.approx([measured.facts["noise_scale"]])


def test_it_is_unbiased_where_single_measurements_scatter(probe):
    """The mean of signal and noise over repetitions, in few dimensions; their quotient is that of the means."""
    scales = [probe(Linear(256), batches=samples(8, 256, 0.5, seed), loss_fn=loss_fn).facts["noise_scale"] for seed in range(12)]
    assert sum(scales) / len(scales) == pytest.approx(4.0, rel=0.05)


def test_a_gradient_that_is_noise_alone_has_no_scale(probe):
    measured = probe(Linear(4096), batches=samples(8, 4096, 0.0), loss_fn=loss_fn)
    assert "noise_scale" not in measured.facts
    why = "the mean gradient does not stand out from the noise: the scale is beyond what these batches show"
    assert measured.missing["noise_scale"] == why


def test_too_few_batches_say_nothing(probe):
    measured = probe(Linear(8), batches=samples(3, 8, 1.0), loss_fn=loss_fn)
    assert measured.missing["noise_scale"] == "3 different batches are too few to compare: at least 4 are needed"


def test_random_batches_say_nothing(probe):
    measured = probe(nn.Linear(8, 3), (2, 8))
    assert measured.missing["noise_scale"] == "batches are random, so the noise of their gradients is that of no data set"
