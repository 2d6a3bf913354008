from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.recording.units import flat_parts


@pytest.mark.parametrize(
    ("op", "function"),
    [("tanh", torch.tanh), ("sigmoid", torch.sigmoid), ("softsign", F.softsign), ("selu", F.selu), ("elu", F.elu), ("celu", F.celu)],
)
def test_activations_are_flat_where_their_slope_is_below_two_percent(op: str, function):
    inputs = torch.linspace(-60, 60, 200_001, dtype=torch.float64, requires_grad=True)
    outputs = function(inputs)
    outputs.sum().backward()
    slope = inputs.grad / (inputs.grad.max() if op != "selu" else inputs.grad[inputs > 1].min() * 1.6732632423543772)
    parts = flat_parts(op, None)
    assert parts is not None
    flat = (outputs <= parts.low) | (outputs >= parts.high)
    clear = (slope - 0.02).abs() > 1e-3
    assert torch.equal(flat[clear], (slope < 0.02)[clear])


def test_bounds_of_piecewise_linear_activations():
    found = {name: flat_parts(name, module) for name, module in {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "hardtanh": nn.Hardtanh(-2, 3)}.items()}
    assert {name: (parts.low, parts.high, parts.saturates) for name, parts in found.items()} == {
        "relu": (0.0, math.inf, False),
        "relu6": (0.0, 6.0, False),
        "hardtanh": (-2.0, 3.0, True),
    }
    assert [flat_parts(name, None) for name in ("leaky_relu", "linear", None)] == [None, None, None]


@pytest.mark.parametrize("std", [0.1, 3.0])
def test_outputs_of_a_tanh_recurrence_saturate(std: float):
    torch.manual_seed(0)
    layer = nn.RNN(6, 12, batch_first=True)
    nn.init.normal_(layer.weight_hh_l0, std=std)
    values = torch.randn(4, 9, 6)
    outputs = layer(values)[0]
    measured = flat_parts("rnn", layer)
    assert measured is not None
    share = float(((outputs <= measured.low) | (outputs >= measured.high)).float().mean())
    assert (share > 0.5) is (std > 1)
    assert [flat_parts("rnn", nn.RNN(6, 12, nonlinearity="relu")), flat_parts("lstm", nn.LSTM(6, 12))] == [None, None]


def _shifted(shift: list[float], act: nn.Module, layer: nn.Module) -> nn.Sequential:
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(shift))
    return nn.Sequential(layer, act)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("act", "shift", "dead", "saturated"),
    [
        (nn.ReLU(), [-1e3, 0.0, 0.0, -1e3], 0.5, None),
        (nn.ReLU(inplace=True), [-1e3, 0.0, 5.0, 0.0], 0.25, None),
        (nn.ReLU6(), [1e3, 0.0, 0.0, -1e3], 0.5, None),
        (nn.Tanh(), [1e3, -1e3, 0.0, 0.0], 0.5, 0.5),
        (nn.Sigmoid(), [1e3, 0.0, 0.0, 0.0], 0.25, 0.25),
        (nn.Hardtanh(), [1e3, -1e3, 1e3, 0.0], 0.75, 0.75),
        (nn.GELU(), [-1e3, 0.0, 0.0, 0.0], 0.25, None),
        (nn.ELU(), [-1e3, 0.0, 0.0, 0.0], 0.25, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_dead_and_saturated_units(record, kind: str, act: nn.Module, shift: list[float], dead: float, saturated: float | None, exact: bool):
    # With 64 x 64 positions per channel, convolutions are sampled.
    model = _shifted(shift, act, nn.Linear(3, 4) if kind == "linear" else nn.Conv2d(3, 4, 1))
    shape = (64, 3) if kind == "linear" else (4, 3, 64, 64)
    inputs = torch.randn(shape) * 0.1
    recorded = record(model, lambda model: model(inputs).square().sum(), steps=2, exact=exact)
    layer = recorded["1"]
    assert layer.series["dead_share"] == (dead, dead)
    assert layer.facts == {"dead_share": dead}
    assert layer.units == 4
    assert layer.series.get("saturated_share") == (None if saturated is None else pytest.approx((saturated, saturated), abs=0.01))


def test_a_unit_that_is_alive_once_is_not_dead(record):
    model = _shifted([-10.0, 0.0], nn.ReLU(), nn.Conv2d(1, 2, 1, bias=True))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    inputs = torch.zeros(2, 1, 300, 300)
    inputs[1, 0, 123, 45] = 11.0
    inputs[0] += 1.0
    recorded = record(model, lambda model: model(inputs).sum())
    assert recorded["1"].series["dead_share"] == (0.0,)


def test_units_that_are_dead_in_every_step_are_fewer(record):
    model = _shifted([0.0, 0.0, 0.0, -1e3], nn.ReLU(), nn.Linear(1, 4))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [1.0]]))
    batches = iter([torch.ones(3, 1), -torch.ones(3, 1), torch.ones(3, 1)])
    recorded = record(model, lambda model: model(next(batches)).sum(), steps=3)
    assert recorded["1"].series["dead_share"] == (0.5, 0.75, 0.5)
    assert recorded["1"].facts["dead_share"] == 0.25


def test_one_activation_behind_two_layers_has_the_units_of_both(record):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.act = nn.Linear(3, 4), nn.Linear(4, 4), nn.ReLU()
            with torch.no_grad():
                self.one.bias.copy_(torch.tensor([-1e3, 9.0, 9.0, 9.0]))
                self.two.bias.copy_(torch.tensor([9.0, -1e3, 9.0, 9.0]))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.act(self.two(self.act(self.one(values))))

    recorded = record(Net(), lambda model: model(torch.randn(6, 3)).sum())
    assert (recorded["act"].calls, recorded["act"].series["dead_share"]) == (2, (0.25,))


@pytest.mark.parametrize("batch", [True, False])
def test_units_of_convolutions_with_and_without_a_batch(record, batch: bool):
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU())
    inputs = torch.randn(2, 3, 9) if batch else torch.randn(3, 9)
    recorded = record(model, lambda model: model(inputs).sum())
    assert [recorded["0"].units, recorded["1"].units] == [5, 5]


def test_units_of_images_with_channels_last(record):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up, self.act = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 12), nn.GELU()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.act(self.up(self.conv(images).permute(0, 2, 3, 1)))

    recorded = record(Net(), lambda model: model(torch.randn(2, 3, 48, 48)).sum())
    assert [layer.units for layer in recorded.layers.values()] == [6, 12, 12]
