"""Batch statistics of different ranks."""

from math import sqrt

import numpy as np
import pytest

CODE = """
import numpy as np
from normadvisor.probe.distributed.batch_norm import RankStatistics

def inputs(step, shift=0.0):
    # The same for whoever draws it, and other values on each rank.
    generator = np.random.default_rng([step, rank])
    return torch.tensor(generator.normal(3, 2, (SAMPLES, 16, 5, 5)) + shift * rank, dtype=torch.float32)

with join(environment, run="x") as ranks:
    model = nn.Sequential(nn.BatchNorm2d(16), nn.ReLU())
    statistics = RankStatistics(nn.parallel.DistributedDataParallel(model))
    with statistics.watching():
        for step in range(STEPS):
            model(inputs(step, SHIFT))
        model.eval()
        model(inputs(99))
        with torch.no_grad():
            model.train()(inputs(98))
    result = statistics.facts(ranks.link)
    assert not model[0]._forward_pre_hooks
"""


def measured(on_ranks, *, samples=4, steps=6, shift=0.0, ranks=2):
    code = CODE.replace("SAMPLES", str(samples)).replace("STEPS", str(steps)).replace("SHIFT", str(shift))
    found = on_ranks.results(code, ranks=ranks)
    assert found == [found[0]] * ranks
    return found[0]


def expected(samples, steps, shift, ranks):
    """From the definitions, pair by pair."""
    values = np.array([[np.random.default_rng([step, rank]).normal(3, 2, (samples, 16, 5, 5)) + shift * rank for rank in range(ranks)] for step in range(steps)])
    means = values.mean((2, 4, 5))  # steps, ranks, channels
    variance = values.transpose(0, 3, 1, 2, 4, 5).reshape(steps, 16, -1).var(-1)
    pairs = [(i, j) for i in range(ranks) for j in range(i)]
    gap = sqrt(np.mean([(means[:, i] - means[:, j]) ** 2 / variance for i, j in pairs]))
    between = means.mean(0).var(0, ddof=1)
    # Variance of batch means within ranks: what is left when the mean of the step and that of the rank are gone.
    left = means - means.mean(1, keepdims=True) - means.mean(0, keepdims=True) + means.mean((0, 1), keepdims=True)
    within = (left**2).sum((0, 1)) / ((steps - 1) * (ranks - 1))
    return gap, sqrt(max(0, np.mean((between - within / steps) / variance.mean(0))))


@pytest.mark.parametrize(("samples", "steps", "shift", "ranks"), [(4, 6, 0.0, 2), (4, 6, 1.0, 2), (2, 3, 0.5, 4)])
def test_gap_and_shift(on_ranks, samples, steps, shift, ranks):
    facts = measured(on_ranks, samples=samples, steps=steps, shift=shift, ranks=ranks)
    gap, lasting = expected(samples, steps, shift, ranks)
    assert facts == {"0": {"bn_rank_gap": pytest.approx(gap, rel=1e-4), "bn_rank_shift": pytest.approx(lasting, rel=1e-3, abs=1e-4), "bn_sync": False}}


def test_independent_values_and_data_that_differ(on_ranks):
    alike, other = measured(on_ranks)["0"], measured(on_ranks, shift=1.0)["0"]
    assert alike["bn_rank_gap"] == pytest.approx(sqrt(2 / (4 * 25)), rel=0.2)
    assert alike["bn_rank_shift"] < 0.03
    # Rank 1 lies one unit, half a standard deviation, above rank 0: 0.5 / sqrt(2) as standard deviation of two.
    assert other["bn_rank_shift"] == pytest.approx(0.5 / sqrt(2), rel=0.1)


def test_one_step_tells_nothing_that_lasts(on_ranks):
    assert sorted(measured(on_ranks, steps=1)["0"]) == ["bn_rank_gap", "bn_sync"]


def test_layers_that_did_not_run_alike_are_left_out(on_ranks):
    found = on_ranks.results("""
        from normadvisor.probe.distributed.batch_norm import RankStatistics
        with join(environment, run="x") as ranks:
            model = nn.ModuleDict({"a": nn.BatchNorm1d(3), "b": nn.BatchNorm1d(3), "never": nn.BatchNorm1d(3)})
            statistics = RankStatistics(model)
            with statistics.watching():
                model["a"](torch.randn(5, 3))
                if rank == 1:
                    model["b"](torch.randn(5, 3))
            result = sorted(statistics.facts(ranks.link))
    """)  # fmt: skip
    assert found == [["a"], ["a"]]
