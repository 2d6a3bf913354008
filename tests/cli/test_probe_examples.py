"""The examples, measured: what a newcomer sees first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

EXPECTED = {
    "deep_tanh": [("NA601", "DeepTanh")],
    "lenet5_modern": [],
    "lenet5_classic": [("NA601", "LeNet5Sigmoid")],
    "conv_bn_relu": [],
    "policy_network": [],
}
"""Warnings and errors of rules that look at measurements, and the model."""


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_shows_what_it_should(cli, name):
    result = cli("probe", EXAMPLES / f"{name}.py", "--device", "cpu", "--budget", "600s", "--format", "json", "--no-cache")
    assert result.code == int(bool(EXPECTED[name])), result.err
    data = json.loads(result.out)
    assert [(item["rule"], item["model"].rpartition(":")[2]) for item in data["findings"] if item["severity"] != "info"] == EXPECTED[name]
    assert all(item["facts"]["restored"] is True for item in data["probe"]["measurements"])
