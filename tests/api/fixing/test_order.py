from __future__ import annotations

import pytest

from normadvisor.api.fixing.choices import Choice
from normadvisor.api.fixing.order import in_turn
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Related, Severity


def choice(rule: str, line: int, applicability: str, edited: tuple[int, int], *related: int, path: str = "net.py") -> Choice:
    fix = Fix(Applicability(applicability), "x", (Edit(path, edited[0], 5, edited[1], 9, "y"),))
    finding = Finding(
        rule=rule, name="x", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="x", path=path, line=line,
        related=tuple(Related(path, other, "is built here") for other in related), fix=fix,
    )  # fmt: skip
    return Choice(finding, fix)


BIAS = choice("NA102", 10, "safe", (10, 10), 15, 11)
FREE = choice("NA102", 20, "safe", (20, 20), 21)
NORM = choice("NA302", 11, "unsafe", (11, 11))


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        (NORM, True),
        (choice("NA302", 9, "unsafe", (8, 12)), True),
        (choice("NA302", 10, "unsafe", (10, 10)), True),
        (choice("NA302", 11, "safe", (11, 11)), False),
        (choice("NA302", 12, "unsafe", (12, 12)), False),
        (choice("NA302", 11, "unsafe", (11, 11), path="other.py"), False),
    ],
)
def test_a_safe_fix_waits_for_what_changes_its_ground(other: Choice, waits: bool) -> None:
    expected = ([FREE, other], [BIAS]) if waits else ([BIAS, FREE, other], [])
    assert in_turn([BIAS, FREE, other], lambda _: False) == expected


def test_nothing_waits_for_what_has_failed() -> None:
    assert in_turn([BIAS, NORM], lambda finding: finding.rule == "NA302") == ([BIAS, NORM], [])


def test_a_line_that_an_edit_only_reaches_is_not_changed() -> None:
    fix = Fix(Applicability.UNSAFE, "x", (Edit("net.py", 9, 1, 11, 1, ""),))
    finding = choice("NA107", 9, "unsafe", (9, 9)).finding
    assert in_turn([choice("NA102", 12, "safe", (12, 12), 11), Choice(finding, fix)], lambda _: False)[1] == []
    assert in_turn([choice("NA102", 12, "safe", (12, 12), 10), Choice(finding, fix)], lambda _: False)[1] != []


NETWORK = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.GroupNorm(16, 16)
        self.head = nn.Conv2d(16, 8, 1)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.head(self.norm(self.conv(x)).relu())).relu()
"""


def test_a_bias_stays_where_the_norm_behind_it_becomes_another(fixing) -> None:
    run = fixing({"net.py": NETWORK}).fix_all(unsafe=True)
    assert [(item.finding.rule, item.finding.line) for item in run.applied] == [("NA102", 9), ("NA302", 8)]
    expected = NETWORK.replace("GroupNorm(16, 16)", "GroupNorm(8, 16)").replace("(16, 8, 1)", "(16, 8, 1, bias=False)")
    assert [change.after.decode() for change in run.changes] == [expected]
    assert (run.after.report.active, run.rolled_back, run.rounds) == ((), (), 1)
