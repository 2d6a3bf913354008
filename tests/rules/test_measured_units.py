"""The numbers behind NA603, NA604 and NA612: how many units are dead, saturated or copies in healthy networks and in those with a mistake."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.match.measured.views import views_of

RULES = ("NA603", "NA604")


def largest(measurements, word):
    """Largest value of a word among the layers."""
    return max(layer[word] for layer in views_of(measurements)[0] if layer[word] is not None)


@pytest.mark.parametrize(
    ("depth", "start", "norm", "most"), [(4, "default", "", 0.3), (20, "he", "", 0.55), (40, "he", "", 0.65), (40, "xavier", "", 0.65), (20, "he", "batch", 0.1)]
)
def test_dead_units_of_healthy_nets(nets, depth, start, norm, most):
    measured = nets.measure(nets.stack(depth, start=start, norm=norm))
    assert largest(measured, "always_dead") <= most
    assert nets.warned(measured, RULES) == []


@pytest.mark.parametrize("units", [16, 64, 256])
def test_units_that_a_bias_keeps_off(nets, units):
    first = nn.Linear(20, units)
    nn.init.constant_(first.bias, -6.0)
    measured = nets.measure(nn.Sequential(first, nn.ReLU(), nn.Linear(units, 10)))
    assert largest(measured, "always_dead") == 1.0
    assert nets.warned(measured, RULES) == ["NA603"]


def test_narrow_layers_count_where_they_cut_off_everything(nets):
    first = nn.Linear(20, 4)
    nn.init.constant_(first.bias, -9.0)
    blocked = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 10))
    assert nets.warned(nets.measure(blocked), RULES) == ["NA603"]

    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.down, self.act, self.up = nn.Linear(20, 64), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 64)
            nn.init.constant_(self.down.bias, -9.0)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            x = self.stem(x)
            return self.head(x * torch.sigmoid(self.up(self.act(self.down(x)))))

    assert nets.warned(nets.measure(Squeeze()), RULES) == []


def test_few_samples_prove_little(nets):
    """At batch size 2 a third of the units of a wide layer are off in every one of five steps at most."""
    measured = nets.measure(nets.stack(3), nets.task(5, batch=2))
    assert largest(measured, "always_dead") < 0.35
    assert nets.warned(measured, RULES) == []


@pytest.mark.parametrize(
    ("depth", "activation", "start", "norm", "low", "high"),
    [
        (5, nn.Tanh, "one", "", 0.6, 0.85),
        (5, nn.Tanh, "xavier", "", 0.0, 0.05),
        (20, nn.Tanh, "xavier 5/3", "", 0.0, 0.08),
        (20, nn.Tanh, "one", "batch", 0.0, 0.03),
        (2, nn.Sigmoid, "default", "", 0.0, 0.01),
    ],
)
def test_saturation_by_initialisation(nets, depth, activation, start, norm, low, high):
    measured = nets.measure(nets.stack(depth, activation, start, norm))
    assert low <= largest(measured, "saturated_share") <= high
    assert nets.warned(measured, RULES) == (["NA604"] if low > 0.5 else [])


@pytest.mark.parametrize(("bias", "gain", "expected"), [(-6.0, 0.1, []), (0.0, 60.0, ["NA604"])])
def test_outputs_at_one_end_are_probabilities_of_something_rare(nets, bias, gain, expected):
    last = nn.Linear(64, 10)
    nn.init.normal_(last.weight, std=gain / 8)
    nn.init.constant_(last.bias, bias)
    net = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), last, nn.Sigmoid())
    measured = nets.measure(net, loss=lambda output, _: output.square().mean(), classes=None)
    assert largest(measured, "saturated_share") > 0.5
    assert nets.warned(measured, RULES) == expected


def equal(net):
    """All parameters of a layer are one number."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.05)
    return net


@pytest.mark.parametrize("depth", [1, 4])
def test_copied_units(nets, depth):
    measured = nets.measure(equal(nets.stack(depth)))
    hidden = [layer.facts["alike_share"] for layer in measured.layers if layer.op == "linear"][:-1]
    assert hidden == [1.0] * depth
    assert nets.warned(measured, ("NA612",)) == ["NA612"]


@pytest.mark.parametrize(("depth", "start", "norm"), [(4, "default", ""), (40, "he", ""), (20, "hundredth", "layer"), (10, "one", "batch")])
def test_units_drawn_at_random_are_no_copies(nets, depth, start, norm):
    measured = nets.measure(nets.stack(depth, start=start, norm=norm))
    assert [layer.facts["alike_share"] for layer in measured.layers if layer.op == "linear"] == [0.0] * (depth + 1)
    assert nets.warned(measured, ("NA612",)) == []


def test_what_starts_at_zero_is_no_copy(nets):
    net = nets.stack(3)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    measured = nets.measure(net)
    assert measured.layers[-1].facts["alike_share"] == 0.0
    assert nets.warned(measured, ("NA612",)) == []
