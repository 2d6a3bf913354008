"""What is said of batch normalization that is measured on several ranks."""

from pathlib import Path

import pytest

from normadvisor.api.selection import load_selected
from normadvisor.config import Settings
from normadvisor.match.measured import measured_findings
from normadvisor.types import LayerMeasurements, Measurements, RunContext


def findings(ranks, *, steps=5, **facts):
    layer = LayerMeasurements(name="bn", cls="BatchNorm2d", op="batch_norm", facts=facts)
    measurements = Measurements(
        target="m", layers=(layer,), series={"loss": (1.0,) * steps}, facts={"batch_given": True, "real_data": True},
        setup={"batch_size": 2, "world_size": ranks},
    )  # fmt: skip
    _, rules = load_selected(Settings())
    found = measured_findings(measurements, [rule for rule in rules if rule.scope == "probe"], RunContext(), Path("/"))
    return [(finding.rule, str(finding.severity), finding.message) for finding in found]


NOISY = "with 2 samples per step the variance that bn divides by is off by 90% from batch to batch, as of 3 independent values (1 batch normalization in all)"
SHIFTED = (
    "what bn normalizes has another mean on each of the 4 ranks, step after step, with a deviation of 0.7 between them: each rank normalizes by its "
    "own, and only the running statistics of rank 0 are kept; shuffle the data before it is shared out, or use SyncBatchNorm"
)


@pytest.mark.parametrize(
    ("ranks", "facts", "expected"),
    [
        (1, {"bn_var_noise": 0.9}, [NOISY]),
        (4, {"bn_var_noise": 0.9, "bn_sync": False, "bn_rank_shift": 0.0}, [f"{NOISY}; SyncBatchNorm would take it of the samples of all ranks"]),
        (4, {"bn_var_noise": 0.9, "bn_sync": True, "bn_rank_shift": 0.7}, []),  # of four ranks together it is .45
        (4, {"bn_var_noise": 0.1, "bn_sync": False, "bn_rank_shift": 0.7}, [SHIFTED]),
        (4, {"bn_var_noise": 0.1, "bn_sync": False, "bn_rank_shift": 0.2}, []),
        (4, {"bn_var_noise": 0.1, "bn_sync": False, "bn_rank_shift": 0.7, "steps": 4}, []),
    ],
)
def test_advice(ranks, facts, expected):
    assert findings(ranks, **facts) == [("NA609", "warning", words) for words in expected]
