"""The examples of the built-in rules are their tests: every bad one is reported where it says, every good and mended one is silent."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from normadvisor.cli import rule as command
from normadvisor.rulebook import builtin_dir, load_file

FAMILIES = sorted(folder.name for folder in builtin_dir().iterdir() if folder.is_dir())
FILES = sorted(builtin_dir().rglob("*.yaml"), key=lambda path: path.name)


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_come_out_as_their_rules_say(family):
    result = CliRunner().invoke(command.app, ["test", str(builtin_dir() / family), "--format", "json"])
    examples = json.loads(result.stdout)["examples"]
    assert examples
    assert [example for example in examples if example["verdict"] != "passed"] == []
    assert result.exit_code == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_rule_says_where_its_numbers_come_from_and_what_it_leaves_alone(path):
    rule = load_file(path).rule
    assert path.name == f"{rule.id}-{rule.name}.yaml"
    assert rule.exempt
    assert rule.fix is not None
    assert all(reference.claim for reference in rule.references)
    assert all(reference.url or reference.title.startswith("Measured") for reference in rule.references)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_bad_example_has_expectations_and_a_mended_form(path):
    examples = load_file(path).rule.examples
    assert all(example.expect for example in examples.bad)
    assert examples.fixed
