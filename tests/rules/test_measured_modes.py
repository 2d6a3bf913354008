"""The numbers behind NA607, NA609 and NA611, and what the measured sides of static rules make of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.match.measured.views import views_of
from normadvisor.probe.run import probe_model
from normadvisor.types import ProbeOptions, RunContext

RULES = ("NA606", "NA607", "NA609", "NA611")


def probed(model, batches):
    """All phases of a probe, with classes as targets."""
    options = ProbeOptions(device="cpu", steps=4, loss="cross_entropy", budget=600)
    return probe_model(model, options, batches=list(batches), context=RunContext(), target="net")


class Always(nn.Module):
    """Dropout that does not know the mode."""

    def forward(self, x):
        return F.dropout(x, 0.5)


class Stale(nn.BatchNorm1d):
    """Statistics of a batch that is long gone."""

    def __init__(self, features: int) -> None:
        super().__init__(features, momentum=0.0)


def block(inner):
    return nn.Sequential(nn.Linear(20, 64), inner, nn.ReLU(), nn.Linear(64, 10))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (lambda: nn.BatchNorm1d(64), []),
        (lambda: nn.LayerNorm(64), []),
        (lambda: nn.Dropout(0.5), []),
        (Always, ["NA607"]),
        (lambda: nn.BatchNorm1d(64, track_running_stats=False), ["NA607"]),
        (lambda: Stale(64), ["NA607"]),
    ],
)
def test_gaps_between_modes(nets, inner, expected):
    measured = probed(block(inner()), nets.task(4))
    assert nets.warned(measured, RULES) == expected
    if not expected:
        run = nets.run(measured)
        assert run["eval_repeat_gap"] < 1e-6
        assert run["eval_batch_gap"] < 1e-6
        assert not run["norm_gap"] or run["norm_gap"] < 2 * run["norm_noise"]


@pytest.mark.parametrize(("batch", "expected"), [(2, 1.24), (4, 0.79), (8, 0.53), (16, 0.36), (32, 0.25)])
def test_noise_of_variances_tells_how_many_independent_values_there_are(nets, batch, expected):
    measured = probed(block(nn.BatchNorm1d(64)), nets.task(6, batch=batch))
    (norm,) = (layer for layer in views_of(measured)[0] if layer["op"] == "batch_norm")
    assert norm["bn_var_noise"] == pytest.approx(expected, rel=0.25)
    assert norm["bn_var_noise"] == pytest.approx(math.sqrt(2 / (batch - 1)), rel=0.3)
    assert nets.warned(measured, ("NA609",)) == (["NA609"] if batch <= 4 else [])


def test_noise_does_not_depend_on_the_depth(nets):
    measured = probed(nets.stack(8, norm="batch"), nets.task(6, batch=16))
    noise = [layer["bn_var_noise"] for layer in views_of(measured)[0] if layer["op"] == "batch_norm"]
    assert max(noise) < 1.5 * min(noise)


@pytest.mark.parametrize(
    ("model", "low", "high", "expected"),
    [
        (lambda nets: nets.stack(3), 0.5, 1.0, []),
        (lambda nets: nets.stack(10, norm="layer", residual=True), 0.5, 1.0, []),
        (lambda nets: nets.stack(3, norm="batch"), 0.5, 1.0, []),
        (lambda nets: nn.Sequential(nn.Linear(20, 1), nn.LayerNorm(1), nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 10)), 0.0, 0.4, ["NA611"]),
    ],
)
def test_what_one_batch_learned_by_heart(nets, model, low, high, expected):
    measured = probed(model(nets), nets.task(4))
    learned = nets.run(measured)["learned"]
    assert low <= learned <= high
    assert nets.warned(measured, ("NA611",)) == expected


def test_layers_without_a_gradient(nets):
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head, self.unused = nn.Linear(20, 32), nn.Linear(32, 10), nn.Linear(10, 4)
            self.cut = True

        def forward(self, x):
            features = self.encoder(x).relu()
            output = self.head(features.detach() if self.cut else features)
            self.unused(output)
            return output

    cut = Cut()
    assert nets.warned(nets.measure(cut), ("NA606",)) == ["NA606"]
    whole = Cut()
    whole.cut = False
    assert nets.warned(nets.measure(whole), ("NA606",)) == []
    frozen = Cut()
    frozen.encoder.requires_grad_(False)
    assert nets.warned(nets.measure(frozen), ("NA606",)) == []


def test_experts_that_nothing_was_sent_to(nets):
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.experts, self.head = nn.Linear(20, 32), nn.ModuleList(nn.Linear(32, 32) for _ in range(4)), nn.Linear(32, 10)

        def forward(self, x):
            x = self.stem(x)
            weights = torch.tensor([0.6, 0.4, 0.0, 0.0])
            return self.head(sum(weight * expert(x) for weight, expert in zip(weights, self.experts, strict=True)))

    assert nets.warned(nets.measure(Routed()), ("NA606",)) == []
