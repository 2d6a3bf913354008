"""The numbers behind NA601, NA602 and NA610: what depth, norm and initialisation do to influences, outputs and the first loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.match.measured.views import views_of
from normadvisor.probe.running.run import probe_model
from normadvisor.types import ProbeOptions, RunContext

RULES = ("NA601", "NA602", "NA610")

HEALTHY = [
    *((depth, nn.ReLU, "he", "", False) for depth in (4, 10, 20, 40)),
    *((depth, nn.ReLU, "default", "layer", True) for depth in (4, 10, 40)),
    *((depth, nn.ReLU, "default", "batch", True) for depth in (4, 10, 40)),
    *((depth, nn.ReLU, "default", "batch", False) for depth in (4, 10)),
    *((depth, nn.ReLU, "xavier", "", False) for depth in (4, 10, 40)),
    *((depth, nn.SELU, "lecun", "", False) for depth in (5, 20, 40)),
    *((depth, nn.Tanh, "xavier 5/3", "", False) for depth in (5, 10, 20)),
    *((depth, nn.Tanh, "default", "batch", False) for depth in (5, 10, 20)),
    *((depth, nn.GELU, "default", "layer", True) for depth in (10, 40)),
    (3, nn.ReLU, "default", "", False),
    (4, nn.ReLU, "default", "", False),
    (5, nn.Tanh, "default", "", False),
    (2, nn.Sigmoid, "xavier", "", False),
]
VANISHING = [
    *((depth, nn.ReLU, "default", "", False) for depth in (10, 20, 40)),
    *((depth, nn.ReLU, "hundredth", "", False) for depth in (5, 10, 20)),
    *((depth, nn.Sigmoid, "default", "", False) for depth in (5, 8, 20)),
    *((depth, nn.Tanh, "default", "", False) for depth in (20, 40)),
]
EXPLODING = [
    (40, nn.ReLU, "he", "batch", False),
    *((depth, nn.ReLU, "one", "", False) for depth in (5, 10, 20)),
    *((depth, nn.Tanh, "one", "", False) for depth in (20, 40)),
]


def named(case):
    depth, activation, start, norm, residual = case
    return f"{activation.__name__} {depth} {start} {norm} {'residual' * residual}".strip()


@pytest.mark.parametrize("case", HEALTHY, ids=named)
def test_healthy_depths_are_far_from_the_thresholds(nets, case):
    depth, activation, start, norm, residual = case
    measured = nets.measure(nets.stack(depth, activation, start, norm, residual=residual))
    run = nets.run(measured)
    assert run["fade"] > 0.1
    assert run["growth"] > 0.1
    assert run["strongest_influence"] > 0.001
    assert run["initial_loss_ratio"] < 20
    assert nets.warned(measured, RULES) == []


@pytest.mark.parametrize("case", VANISHING, ids=named)
def test_vanishing(nets, case):
    depth, activation, start, norm, residual = case
    measured = nets.measure(nets.stack(depth, activation, start, norm, residual=residual))
    assert nets.warned(measured, RULES) == ["NA601"]


@pytest.mark.parametrize("case", EXPLODING, ids=named)
def test_exploding(nets, case):
    depth, activation, start, norm, residual = case
    measured = nets.measure(nets.stack(depth, activation, start, norm, residual=residual))
    assert nets.warned(measured, RULES) == ["NA602"]


@pytest.mark.parametrize(("depth", "first"), [(10, 4e-3), (20, 4e-7), (40, 6e-15)])
def test_the_first_of_layers_with_default_initialisation(nets, depth, first):
    layers, _ = views_of(nets.measure(nets.stack(depth)))
    found = layers[0]["relative_influence"]
    # Within an order of magnitude: other versions of torch draw other numbers.
    assert first / 10 < found < first * 10


@pytest.mark.parametrize(("depth", "growth"), [(10, 0.3), (20, 0.05), (40, 7e-4)])
def test_growth_of_batch_normalized_stacks(nets, depth, growth):
    found = nets.run(nets.measure(nets.stack(depth, norm="batch", start="he")))["growth"]
    assert growth / 4 < found < growth * 4


@pytest.mark.parametrize(("case", "healthy", "adam"), [
    ((10, nn.ReLU, "default", ""), (10, nn.ReLU, "he", ""), False),
    ((20, nn.ReLU, "default", ""), (20, nn.ReLU, "he", ""), True),
    ((5, nn.ReLU, "hundredth", ""), (5, nn.ReLU, "he", ""), True),
    ((5, nn.Sigmoid, "default", ""), (5, nn.Sigmoid, "default", "batch"), False),
    ((20, nn.Tanh, "default", ""), (20, nn.Tanh, "xavier", ""), True),
    ((40, nn.ReLU, "he", "batch"), (10, nn.ReLU, "he", "batch"), True),
    ((5, nn.ReLU, "one", ""), (5, nn.ReLU, "he", ""), True),
])  # fmt: skip
def test_what_is_reported_trains_worse_than_its_healthy_twin(nets, case, healthy, adam):
    worse, better = nets.trained(nets.stack(*case), adam=adam), nets.trained(nets.stack(*healthy), adam=adam)
    assert worse > better + 0.1


def test_weights_all_too_small(nets):
    tiny = nets.stack(5, start="he")
    for layer in tiny:
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 0.01
    measured = nets.measure(tiny)
    assert nets.run(measured)["strongest_influence"] < 0.0005
    assert nets.warned(measured, RULES) == ["NA601"]


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize(("case", "expected"), [((20, nn.ReLU), ["NA601"]), ((20, nn.ReLU, "he"), []), ((40, nn.ReLU, "he", "batch"), ["NA602"])])
def test_the_scale_of_the_loss_does_not_matter(nets, scale, case, expected):
    measured = nets.measure(nets.stack(*case), loss=lambda output, targets: scale * F.cross_entropy(output, targets), classes=None)
    assert nets.warned(measured, RULES) == expected


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_layer_scales_and_heads_of_zeros_do_not_vanish(nets, scale):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(nn.Parameter(scale * 1e-3 * nets.stack(1)[0].weight.new_ones(64)))
            self.branch = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))

        def forward(self, x):
            return x + self.scale * self.branch(x)

    net = nn.Sequential(nn.Linear(20, 64), *[Scaled() for _ in range(12)], nn.LayerNorm(64), nn.Linear(64, 10))
    assert nets.warned(nets.measure(net), RULES) == []
    nn.init.zeros_(net[-1].weight)
    assert nets.warned(nets.measure(net), RULES) == []


@pytest.mark.parametrize(("case", "low", "high"), [((5, nn.ReLU, "one"), 2e3, 5e4), ((40, nn.ReLU, "he", "layer", True), 3, 20), ((10, nn.ReLU, "he"), 0.9, 2)])
def test_the_first_loss(nets, case, low, high):
    *words, residual = case if len(case) > 4 else (*case, False)
    ratio = nets.run(nets.measure(nets.stack(*words, residual=residual)))["initial_loss_ratio"]
    assert low < ratio < high


class Recurrence(nn.Module):
    """Ten times the same matrix, which stretches by ``gain``; a new number comes in each time."""

    def __init__(self, gain: float, activation: nn.Module) -> None:
        super().__init__()
        self.inner, self.hidden, self.head = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.activation = activation
        with torch.random.fork_rng():
            torch.manual_seed(0)
            nn.init.orthogonal_(self.hidden.weight, gain=gain)

    def forward(self, x):
        state = x.new_zeros(len(x), 32)
        for step in range(10):
            state = self.activation(self.inner(x[:, 2 * step : 2 * step + 2]) + self.hidden(state))
        return self.head(state)


@pytest.mark.parametrize(
    ("gain", "activation", "low", "high", "expected"),
    [
        (1.0, nn.Tanh(), 0.5, 1.5, []),
        (5 / 3, nn.Tanh(), 0.5, 1.5, []),
        (1.0, nn.ReLU(), 0.5, 1.5, []),
        (2**0.5, nn.ReLU(), 0.5, 2.5, []),
        (3.0, nn.ReLU(), 5.0, 40.0, ["NA602"]),
        (4.0, nn.ReLU(), 20.0, 120.0, ["NA602"]),
    ],
)
def test_growth_over_the_runs_of_a_recurrence(nets, gain, activation, low, high, expected):
    measured = nets.measure(Recurrence(gain, activation))
    growth = next(layer.series["call_growth"][0] for layer in measured.layers if layer.name == "hidden")
    assert low <= growth <= high
    assert nets.warned(measured, RULES) == expected


class Divided(nn.Module):
    """What a layer gives, by the root of its width once more than it should be."""

    def forward(self, x):
        return x / x.shape[1] ** 0.5


@pytest.mark.parametrize(("optimizer", "shrinks", "expected"), [("sgd", True, ["NA601"]), ("adam", True, []), ("sgd", False, []), ("adam", False, [])])
def test_small_gradients_are_small_steps_of_sgd_alone(nets, optimizer, shrinks, expected):
    net = nets.stack(3, start="he")
    if shrinks:
        net = nn.Sequential(*[part for layer in net for part in ([layer, Divided()] if isinstance(layer, nn.Linear) and layer.out_features > 10 else [layer])])
    options = ProbeOptions(device="cpu", steps=4, loss="cross_entropy", optimizer=optimizer, lr=0.01, budget=600)
    measured = probe_model(net, options, batches=list(nets.task(4)), context=RunContext(), target="net")
    assert nets.warned(measured, ("NA601",)) == expected
