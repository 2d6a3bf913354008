"""Values of expressions as JSON."""

from __future__ import annotations

from normadvisor.match.values import json_value


def test_json_values():
    assert json_value((1, [2.5, None], float("inf"), float("nan"), {"a": {3}})) == [1, [2.5, None], "inf", "nan", {"a": [3]}]
