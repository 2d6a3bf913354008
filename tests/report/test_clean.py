from __future__ import annotations

import pytest

from normadvisor.report.clean import short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (True, "yes"),
        (0.123456, "0.1235"),
        ([2, 16], "2, 16"),
        ([[2, 16], [2, 8]], "[2, 16], [2, 8]"),
        (["a", "b"], "a, b"),
        ({"a": [1, 2]}, "a 1, 2"),
    ],
)
def test_evidence_as_a_person_reads_it(value, text):
    assert short(value) == text
