"""Optimizers, precisions and the clock."""

import math
import sys

import pytest
import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.probe.running.budget import Budget
from normadvisor.probe.running.optimizers import choose_optimizer
from normadvisor.probe.running.precision import Precision, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "lr", "sparse", "expected"),
    [
        (None, None, False, ("AdamW", "adamw", 1e-4, False)), ("adamw", None, False, ("AdamW", "adamw", 1e-3, True)),
        ("sgd", None, False, ("SGD", "sgd", 1e-2, True)), ("momentum", 0.5, False, ("SGD", "momentum", 0.5, True)),
        (None, 0.5, False, ("AdamW", "adamw", 0.5, False)), (None, None, True, ("SGD", "sgd", 1e-2, False)),
    ],
)  # fmt: skip
def test_optimizers(name, lr, sparse, expected):
    found = choose_optimizer(nn.Linear(2, 2).parameters(), given=None, name=name, lr=lr, sparse=sparse)
    assert (type(found.optimizer).__name__, found.name, found.lr, found.given) == expected
    assert found.optimizer.param_groups[0]["lr"] == expected[2]


def test_frozen_parameters_need_no_optimizer():
    assert choose_optimizer(nn.Linear(2, 2).requires_grad_(False).parameters(), given=None, name="adam", lr=None) is None


def test_a_given_optimizer_takes_the_learning_rate_that_was_asked_for():
    given = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    found = choose_optimizer([], given=given, name=None, lr=0.3)
    assert (found.optimizer, found.name, found.lr, found.given) == (given, "SGD", 0.3, True)


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        (nn.Linear(2, 2), None, ("fp32", None, None)), (nn.Linear(2, 2).double(), None, ("fp64", None, None)),
        (nn.Linear(2, 2).bfloat16(), None, ("bf16", torch.bfloat16, None)), (nn.ReLU(), None, ("fp32", None, None)),
        (nn.Linear(2, 2), "fp16", ("fp16", torch.float16, None)), (nn.Linear(2, 2), "amp", ("amp", None, torch.bfloat16)),
    ],
)  # fmt: skip
def test_precisions(model, name, expected):
    found = choose_precision(name, model, CPU)
    assert (found.name, found.dtype, found.cast, found.scaler) == (*expected, None)


def test_unknown_precisions_are_refused():
    with pytest.raises(UsageError, match="unknown precision 'int4'"):
        choose_precision("int4", nn.Linear(2, 2), CPU)


@pytest.fixture
def scaled(monkeypatch):
    """Mixed precision with a loss scale, as on a GPU."""

    def use(scale):
        def choose(name, model, device, **_):
            scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
            return Precision("amp", device, cast=torch.bfloat16, scaler=scaler)

        monkeypatch.setattr(sys.modules["normadvisor.probe.running.run"], "choose_precision", choose)

    return use


def test_the_loss_scale_is_told_and_undone(probe, scaled):
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    batches = [(torch.randn(8, 6), torch.randint(0, 3, (8,))) for _ in range(2)]
    options = {"optimizer": "sgd", "lr": 0.1}
    scaled(1.0)
    plain = probe(model, batches=batches, options=options)
    scaled(1024.0)
    measured = probe(model, batches=batches, options=options)
    assert measured.series["loss_scale"] == (1024.0, 1024.0)
    assert "loss_scale" not in plain.series
    assert measured.series["loss"] == pytest.approx(plain.series["loss"], rel=1e-3)
    assert measured.series["grad_norm"] == pytest.approx(plain.series["grad_norm"], rel=1e-2)
    assert measured.series["update_ratio"] == pytest.approx(plain.series["update_ratio"], rel=1e-2)


def test_gradients_that_overflow_under_a_scale_lower_it_and_end_nothing(probe, scaled):
    scaled(2.0**127)
    model = nn.Linear(6, 3)
    batches = [(100 * torch.randn(8, 6), torch.randint(0, 3, (8,))) for _ in range(2)]
    measured = probe(model, batches=batches, loss_fn=lambda output, target: output.square().mean(), options={"steps": 3})
    scales = measured.series["loss_scale"]
    assert len(scales) == 3
    assert scales[1] == scales[0] / 2
    assert "nonfinite_step" not in measured.facts
    assert not math.isfinite(measured.series["grad_norm"][0])


def test_a_clock_divides_its_seconds():
    now = iter([0.0, 1.0, 4.0, 9.0, 9.0, 9.0])
    budget = Budget(10.0, clock=lambda: next(now))
    assert (budget.used, budget.left, budget.allows(0.5)) == (1.0, 6.0, True)
    assert (budget.allows(2.0), budget.allows(0.5, share=0.5)) == (False, False)


@pytest.mark.parametrize(("each", "share", "expected"), [(1.0, 1.0, 8), (2.0, 1.0, 5), (4.0, 1.0, 0), (0.0, 1.0, 8), (1.0, 0.4, 4)])
def test_repetitions_fit_or_are_left_out(each, share, expected):
    assert Budget(10.0, clock=lambda: 0.0).passes(8, 3, each, share) == expected
