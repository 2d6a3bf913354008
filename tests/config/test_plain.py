"""The quick look at a configuration table against the schema."""

from __future__ import annotations

from typing import Any

import pytest

from normadvisor.config.plain import MODEL_KEYS, PROBE_KEYS, TABLE_KEYS, plainly_right
from normadvisor.config.schema import KEYS, mistakes

TABLES: list[dict[str, Any]] = [
    {},
    {"select": ["NA4"]}, {"select": []}, {"select": [""]}, {"select": "NA4"}, {"select": [4]},
    {"ignore": []}, {"ignore": ["NA1", "NA2"]}, {"ignore": None},
    {"severity": {"NA401": "off", "NA402": "error"}}, {"severity": {"NA401": "fatal"}}, {"severity": {"": "info"}}, {"severity": ["info"]},
    {"severity": {"NA401": ["info"]}},
    {"per_file_ignores": {"*.py": ["NA4"]}}, {"per_file_ignores": {"*.py": "NA4"}}, {"per_file_ignores": {"*.py": []}},
    {"baseline": "known.json"}, {"baseline": ""}, {"baseline": 1},
    {"fail_on": "warning"}, {"fail_on": "off"}, {"fail_on": ["warning"]},
    {"format": "json"}, {"format": "xml"},
    {"timeout": 10}, {"timeout": 0.5}, {"timeout": 0}, {"timeout": True}, {"timeout": 86_401}, {"timeout": "10"}, {"timeout": float("nan")},
    {"memory": 64}, {"memory": 63}, {"memory": 64.0}, {"memory": True},
    {"models": []}, {"models": [{"target": "a.py:f"}]}, {"models": [{"target": "a.py:f", "inputs": ["1x3"]}]}, {"models": [{}]}, {"models": [1]},
    {"models": [{"target": "a.py:f", "inputs": "1x3"}]}, {"models": {"target": "a.py:f"}},
    {"probe": {}}, {"probe": 3}, {"probe": []}, {"probe": {"steps": 3}}, {"probe": {"steps": 0}}, {"probe": {"steps": True}}, {"probe": {"steps": 2.0}},
    {"probe": {"optimizer": "adamw"}}, {"probe": {"optimizer": "adamm"}}, {"probe": {"optimizer": ["sgd"]}}, {"probe": {"lr": 1}}, {"probe": {"lr": 0.5}},
    {"probe": {"lr": 0}}, {"probe": {"lr": "1"}}, {"probe": {"lr": float("inf")}}, {"probe": {"lr": float("nan")}}, {"probe": {"seed": 0}},
    {"probe": {"seed": -1}}, {"probe": {"seed": 2**63}}, {"probe": {"budget": 1}}, {"probe": {"budget": 0}}, {"probe": {"budget": "60s"}},
    {"probe": {"exact": True}}, {"probe": {"exact": 1}}, {"probe": {"device": "cpu"}}, {"probe": {"device": ""}}, {"probe": {"data": "a:b"}},
    {"probe": {"loss": 3}}, {"probe": {"batch_size": 8}}, {"probe": {"batch_size": 0}}, {"probe": {"precision": "amp"}}, {"probe": {"precision": "fp8"}},
    {"models": [{"target": "a.py:f", "lr": 0.1, "data": "a:b", "loss": "a:b", "steps": 2}]},
    {"models": [{"target": "a.py:f", "lr": -0.1}]},
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_agrees_with_the_schema(table: dict[str, Any]) -> None:
    """What is plainly right holds no mistake, and the other way round."""
    assert plainly_right(table) is (mistakes(table) == [])


def test_keys_are_those_of_the_schema() -> None:
    """Both know the same keys."""
    assert (TABLE_KEYS, MODEL_KEYS, PROBE_KEYS) == KEYS
