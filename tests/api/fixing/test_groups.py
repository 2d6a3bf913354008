"""Models that share a place agree on the groups of a GroupNorm where they can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normadvisor.api.fixing.groups import with_common_groups
from normadvisor.types import Applicability, Edit, Fix, Operation, OperationKind, Part

IMPORT = Edit("a.py", 1, 1, 1, 1, "from torch.nn import GroupNorm\n")


def fix(groups, text=None, applicability=Applicability.UNSAFE):
    operation = Operation(
        kind=OperationKind.REPLACE_LAYER, part=Part("bn"), layer="torch.nn.GroupNorm", arguments={"num_groups": groups, "num_channels": 4 * groups}
    )
    edit = Edit("a.py", 5, 1, 5, 9, f"GroupNorm({groups}, width)" if text is None else text)
    return Fix(applicability, "d", (IMPORT, edit), operations=(operation,))


@pytest.mark.parametrize(("one", "two", "common"), [(16, 24, 8), (24, 16, 8), (32, 32, 32), (12, 4, 4)])
def test_the_largest_common_number_is_taken(one, two, common):
    merged = with_common_groups(fix(one), fix(two))
    assert merged == replace(
        fix(one),
        edits=(IMPORT, Edit("a.py", 5, 1, 5, 9, f"GroupNorm({common}, width)")),
        operations=(replace(fix(one).operations[0], arguments={"num_groups": common, "num_channels": 4 * one}),),
    )


@pytest.mark.parametrize(
    "other",
    [fix(9), fix(24, "GroupNorm(24, channels)"), fix(24, "GroupNorm(24, 24)"), fix(24, "GroupNorm(k, width)"), replace(fix(24), operations=()),
     replace(fix(24), edits=fix(24).edits[1:]), replace(fix(24), edits=(IMPORT, replace(fix(24).edits[1], line=6)))],
    ids=["nothing in common", "another text", "twice", "no number", "no groups", "fewer edits", "another place"],
)  # fmt: skip
def test_what_differs_in_more_than_that_is_not_merged(other):
    assert with_common_groups(fix(16), other) is None
