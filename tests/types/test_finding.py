"""Which fix is applied unasked, and that findings survive JSON."""

from __future__ import annotations

import pytest

from normadvisor.types import (
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    Operation,
    OperationKind,
    Part,
    Severity,
)

EDIT = Edit("net.py", 1, 1, 1, 2, "x")
BY_HAND = Fix(Applicability.DISPLAY, "by hand")
SAFE = Fix(Applicability.SAFE, "safe", (EDIT,))
UNSAFE = Fix(Applicability.UNSAFE, "unsafe", (EDIT,))
REFUSED = Fix(Applicability.SAFE, "safe", refused="net.py:3 builds another layer too")


def finding(fix: Fix | None, *alternatives: Fix) -> Finding:
    return Finding(
        rule="AA001",
        name="a-rule",
        severity=Severity.INFO,
        confidence=Confidence.CONFIRMED,
        message="found",
        fix=fix,
        alternatives=alternatives,
    )


@pytest.mark.parametrize(
    ("fixes", "chosen"),
    [
        ((None,), None),
        ((SAFE, UNSAFE), SAFE),
        ((UNSAFE, SAFE), SAFE),
        ((UNSAFE, BY_HAND), UNSAFE),
        ((BY_HAND, UNSAFE), None),
        ((BY_HAND, SAFE), SAFE),
        ((REFUSED, UNSAFE), None),
        ((REFUSED, SAFE), SAFE),
        ((BY_HAND,), None),
    ],
)
def test_which_fix_is_applied_unasked(fixes, chosen):
    assert finding(*fixes).mended_by(lambda fix: bool(fix.edits)) == chosen


def test_json_and_back():
    part = Part(module="bn", node="bn_1", op="batch_norm")
    operation = Operation(kind=OperationKind.SWAP_LAYERS, part=part, other=part, arguments={"eps": 0.1})
    fix = Fix(Applicability.UNSAFE, "swap", (EDIT,), title="swap them", trade_off="none", operations=(operation,), refused="no")
    one = finding(fix, BY_HAND)
    assert Finding.from_dict(one.to_dict()) == one
