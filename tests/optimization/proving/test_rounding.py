import math

import pytest
import torch
from torch import nn

from normadvisor.optimization.candidate import Kernel, Setting
from normadvisor.optimization.prepared import Given
from normadvisor.optimization.proving.rounding import Rounding, acceptable, errors_of_run, kernel_errors
from normadvisor.types.optimization import Errors

EPS = torch.finfo(torch.float32).eps


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, 8))


def rounding(model, mode="inference", batch=8):
    inputs = Given((torch.randn(batch, 16, dtype=next(model.parameters()).dtype),))
    dtype = next(model.parameters()).dtype
    return Rounding(model=model, setting=Setting(mode=mode, device=torch.device("cpu"), dtype=dtype, inputs=inputs))


class Coarse(nn.Module):
    """A layer that rounds its output to few bits."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).bfloat16().to(x.dtype)


def coarse(model):
    model[0] = Coarse(model[0])


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_same_model_has_the_same_error(mode):
    model = network().train(mode == "training")
    errors = rounding(model, mode).errors(lambda changed: None)
    assert errors.before == errors.after
    assert errors.between == 0.0
    assert 0 < errors.before < 100 * EPS


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_coarser_layer_is_seen(mode):
    model = network().train(mode == "training")
    errors = rounding(model, mode).errors(coarse)
    assert errors.after > 100 * errors.before
    assert not acceptable(errors, torch.float32)


def test_the_model_and_its_random_numbers_stay_as_they_were():
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    one = rounding(model, "training")
    state = torch.get_rng_state()
    one.errors(coarse)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_half_precision_is_measured_in_its_own_units():
    model = network().eval().bfloat16()
    errors = rounding(model).errors(lambda changed: None)
    assert torch.finfo(torch.bfloat16).eps / 100 < errors.before < 0.1


@pytest.mark.parametrize(
    ("before", "after", "well"),
    [
        (1e-6, 2e-6, True), (1e-6, 2.1e-6, False), (0.0, 8 * EPS, True), (0.0, 9 * EPS, False), (math.inf, math.inf, True),
        (1e-6, math.inf, False), (math.nan, 1.0, True),
    ],
)  # fmt: skip
def test_twice_the_error_is_allowed_and_a_few_units(before, after, well):
    assert acceptable(Errors(before=before, after=after, between=0.0), torch.float32) is well


def test_an_infinite_output_is_the_worst_error():
    errors = rounding(network().eval()).errors(lambda model: model[4].weight.fill_(math.inf))
    assert errors.after == math.inf


def test_a_model_that_wants_all_its_samples_gets_them():
    class Eight(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            if len(x) != 8:
                raise ValueError(len(x))
            return self.layer(x)

    assert rounding(Eight().eval()).errors(lambda model: None).between == 0.0


def test_a_kernel_is_compared_with_its_reference():
    x = torch.randn(1000)
    kernel = Kernel(
        before=lambda value: value.exp().log(), after=lambda value: value.half().float(), arguments=(x,), exact=lambda value: value
    )
    errors = kernel_errors(kernel)
    assert 0 < errors.before < 1e-6 < errors.after < 1e-3


def test_a_kernel_without_a_reference_has_no_errors():
    assert kernel_errors(Kernel(before=torch.exp, after=torch.exp, arguments=(torch.ones(2),))) is None


def test_another_way_to_run_a_model_has_errors_too():
    model = network().eval()
    x = torch.randn(2, 16)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=Given((x,)))
    errors = errors_of_run(model, lambda: model(x).bfloat16(), setting)
    assert errors.before < 1e-6 < errors.after
