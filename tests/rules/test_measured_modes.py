"""The numbers behind NA607, NA609 and NA611, and what the measured sides of static rules make of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.match.measured.views import views_of
from normadvisor.probe.running.run import probe_model
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


class Unscaled(nn.Module):
    """Dropout that leaves the share that it keeps of the mean."""

    def __init__(self, kept: float, factor: float = 1.0) -> None:
        super().__init__()
        self.kept, self.factor = kept, factor

    def forward(self, x):
        return x * (torch.rand_like(x) < self.kept) * self.factor if self.training else x


class InForward(nn.Module):
    """The same in the code of the whole model."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.first, self.last, self.factor = nn.Linear(20, 64), nn.Linear(64, 10), factor

    def forward(self, x):
        x = torch.relu(self.first(x))
        if self.training:
            x = x * (torch.rand_like(x) < 0.5) * self.factor
        return self.last(x)


class InTraining(nn.Module):
    """A norm that eval mode passes over."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x) if self.training else x


class Masked(nn.Module):
    """Noise on the input, as denoising autoencoders have it."""

    def forward(self, x):
        return x * (torch.rand_like(x) < 0.5) if self.training else x


class Logits(nn.Module):
    """Logits in train mode, probabilities in eval mode."""

    def forward(self, x):
        return x if self.training else x.softmax(1)


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


@pytest.mark.parametrize(
    ("model", "low", "high", "expected"),
    [
        (lambda: block(Unscaled(0.3)), 0.25, 0.35, ["NA607"]),
        (lambda: block(Unscaled(0.8)), 0.75, 0.85, ["NA607"]),
        (lambda: block(Unscaled(0.5, 4.0)), 1.8, 2.2, ["NA607"]),
        (lambda: block(Unscaled(0.3, 1 / 0.3)), 0.95, 1.05, []),
        (lambda: block(Unscaled(0.8, 1.25)), 0.95, 1.05, []),
        (lambda: InForward(1.0), 0.45, 0.55, ["NA607"]),
        (lambda: InForward(2.0), 0.95, 1.05, []),
    ],
)
def test_the_mean_that_dropout_by_hand_leaves(nets, model, low, high, expected):
    measured = probed(model(), nets.task(4))
    assert low <= measured.facts["drop_scale"] <= high
    assert nets.warned(measured, RULES) == expected


def test_noise_on_inputs_is_no_dropout(nets):
    measured = probed(nn.Sequential(Masked(), block(nn.Identity())), nets.task(4))
    assert "drop_scale" not in measured.facts
    assert nets.warned(measured, RULES) == []


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm])
def test_norms_in_training_alone(nets, norm):
    measured = probed(nn.Sequential(nn.Linear(20, 64), InTraining(norm(64)), nn.ReLU(), nn.Linear(64, 10)), nets.task(4))
    assert measured.facts["code_gap"] > 0.5
    assert nets.warned(measured, RULES) == ["NA607"]


def test_probabilities_in_eval_mode_alone(nets):
    measured = probed(nn.Sequential(block(nn.BatchNorm1d(64)), Logits()), nets.task(4))
    assert measured.facts["code_gap"] > 0.5
    assert nets.warned(measured, RULES) == []


@pytest.mark.parametrize(("trainable", "expected"), [(True, ["NA607"]), (False, [])])
def test_new_norms_that_do_not_train(nets, trainable, expected):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = block(nn.BatchNorm1d(64).requires_grad_(trainable))

        def train(self, mode=True):
            super().train(mode)
            self.body[1].eval()
            return self

        def forward(self, x):
            return self.body(x)

    assert nets.warned(probed(Net(), nets.task(4)), RULES) == expected


def test_frozen_models_and_layers_that_never_run(nets):
    assert nets.warned(probed(block(nn.ReLU()).requires_grad_(False), nets.task(4)), RULES) == ["NA606"]

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.spare = block(nn.ReLU()), nn.Linear(64, 64)

        def forward(self, x):
            return self.body(x)

    assert nets.warned(probed(Unused(), nets.task(4)), RULES) == []
