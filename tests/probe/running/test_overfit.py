"""Learning one batch by heart."""

import math
import re

import pytest
import torch
from torch import nn

WITH_TRAINING = {"static_only": False}


def test_a_network_that_learns_is_trained_until_it_has(probe, conv_net):
    measured = probe(conv_net(), (2, 3, 16, 16), options=WITH_TRAINING)
    curve, facts = measured.curves["overfit"], measured.facts
    assert facts["overfit_first"] == curve[0]
    assert facts["overfit_last"] <= 0.5 * curve[0]
    assert facts["overfit_iterations"] == len(curve) <= 100
    assert facts["overfit_floor"] == 0.0
    assert (facts["overfit_lr"], facts["restored"]) == (1e-3, True)


def test_it_is_the_training_that_adam_does(probe):
    """The first iterations of the curve against a loop written here."""
    torch.manual_seed(3)
    model = nn.Linear(5, 3)
    x, y = torch.randn(4, 5), torch.randint(0, 3, (4,))
    measured = probe(model, batches=[(x, y)], loss_fn=nn.CrossEntropyLoss(), options=WITH_TRAINING)
    rate = measured.facts["overfit_lr"]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    expected = []
    for number in range(20):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (number + 1) / 5)
        loss = nn.functional.cross_entropy(model(x), y)
        expected.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert list(measured.curves["overfit"][:20]) == pytest.approx(expected, rel=1e-5)


class Ignores(nn.Module):
    """The same output for every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return self.scores.expand(len(x), 4) + 0 * x.sum()


def test_a_network_that_cannot_tell_samples_apart_does_not_learn(probe):
    x, y = torch.randn(8, 5), torch.arange(8) % 4
    measured = probe(Ignores(), batches=[(x, y)], options=WITH_TRAINING)
    assert measured.facts["overfit_first"] == pytest.approx(math.log(4))
    assert measured.facts["overfit_last"] == pytest.approx(math.log(4), rel=1e-3)
    assert measured.facts["overfit_iterations"] == 100


def test_dropout_is_off_while_a_batch_is_learnt(probe):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 4))
    quiet = nn.Sequential(model[0], model[1], nn.Dropout(0.0), model[3])
    curves = [probe(each, (2, 20), options=WITH_TRAINING).curves["overfit"] for each in (model, quiet)]
    assert curves[0] == curves[1]


def test_random_targets_by_the_thousands_are_not_asked_for(probe):
    measured = probe(nn.Sequential(nn.Linear(8, 300), nn.LayerNorm(300)), (2, 8), options=WITH_TRAINING)
    assert measured.missing["overfit"] == "9600 random target values are more than some iterations can learn"


def test_what_the_budget_cut_short_is_not_judged(probe):
    measured = probe(nn.Linear(8, 3), (2, 8), options={**WITH_TRAINING, "budget": 1e-6})
    assert "overfit_last" not in measured.facts
    said = re.fullmatch(r"20 iterations would take about (\S+) s, and of 1e-06 s 0 s were left", measured.missing["overfit"])
    assert said is not None
    assert 0 < float(said[1]) < 60


def test_a_training_that_fails_is_told(probe):
    class Tires(nn.Linear):
        runs = 0

        def forward(self, x):
            type(self).runs += 1
            if type(self).runs > 30:
                message = "enough"
                raise RuntimeError(message)
            return super().forward(x)

    measured = probe(Tires(8, 3), (2, 8), options=WITH_TRAINING)
    assert measured.missing["overfit"] == "a step failed: RuntimeError: enough"
