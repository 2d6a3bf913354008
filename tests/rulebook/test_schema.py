"""The published schema: valid itself, admits every rule that the loader admits in its shape, refuses what is misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from normadvisor.rulebook import builtin_dir
from normadvisor.rulebook.files import rule_files
from normadvisor.rulebook.schema import rule_schema, schema_text

VALIDATOR = Draft202012Validator(rule_schema())
BUILTIN = rule_files(builtin_dir())


def test_is_a_schema():
    Draft202012Validator.check_schema(rule_schema())


def test_is_published_as_it_is():
    published = Path(__file__).parents[2] / "docs" / "rule.schema.json"
    assert published.read_text(encoding="utf-8") == schema_text(), "run: python -m normadvisor.rulebook.docs"


@pytest.mark.parametrize("path", BUILTIN, ids=lambda path: path.stem)
def test_builtin_rules_satisfy_it(path):
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("precedes:\n    - node: bn\n      op: [batch_norm]", "precedes:\n      node: bn\n      op: batch_norm"),
        ("expect: [1]", "expect: 1"),
        ("expect: [1]", "expect: ['1:info', 2]"),
        ("message:", "exempt: x\nsilenced_by: AC002\nrelated: bn\nmessage:"),
        ("  op: conv", "  op: my_group"),
        ("      through: identity_like", "      through: any"),
        ("expect: [1]", "context: {batch_size: 2, task: detection, fine_tune: true}"),
        ("message:", "define: {ops: {mine: conv, yours: [relu, conv]}}\nmessage:"),
        ("message:", "script: {pattern: {node: call, op: model_call}, message: x, related: built, fix: {applicability: safe, description: x, edit: insert_eval}}\nmessage:"),
        ("    - code: y = 1", "    - {code: y = 1, scope: script}"),
        ("message:", "fix: {applicability: safe, description: x, change: {kind: set_argument, of: conv, argument: bias, value: false}}\nmessage:"),
        ("message:", "alternatives: {applicability: safe, description: x, change: [{kind: remove_layer, of: bn_all}]}\nmessage:"),
        ("      through: identity_like", "      optional: true"),
    ],
)
def test_admits_shorthands(rule_text, old, new):
    assert old in rule_text
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(rule_text.replace(old, new)))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("severity: warning", "severity: warn"),
        ("severity: warning", "severty: warning"),
        ("id: AC001", "id: x"),
        ("name: small-rule", "name: Small rule"),
        ("A convolution before a norm", "A sentence."),
        ("  op: conv", "  op: Conv2d"),
        ("  node: conv", "  node: Conv"),
        ("  where: conv.bias", "  were: conv.bias"),
        ("expect: [1]", "expect: ['1:warn']"),
        ("expect: [1]", "context: {task: detecton}"),
        ("expect: [1]", "context: {batch: 2}"),
        ("  good:\n    - code: y = 1\n", ""),
        ("message:", "source: x\nmessage:"),
        ("message:", "script: {message: x}\nmessage:"),
        ("message:", "script: {pattern: {node: call, op: model_call}, message: x, related: build}\nmessage:"),
        ("message:", "fix: {applicability: safe, description: x, edit: insert_evil}\nmessage:"),
        ("message:", "fix: {applicability: safe, description: x, change: {kind: set, of: conv}}\nmessage:"),
        ("message:", "fix: {applicability: safe, description: x, change: {kind: remove_layer, of: Conv}}\nmessage:"),
        ("message:", "fix: {applicability: safe, description: x, change: {kind: remove_layer}}\nmessage:"),
        ("message:", "fix: {applicability: safe, description: x, change: {kind: wrap_layer, of: a, layer: b.c, arguments: {x-y: 1}}}\nmessage:"),
    ],
)
def test_refuses_misspellings(rule_text, old, new):
    assert old in rule_text
    assert not VALIDATOR.is_valid(yaml.safe_load(rule_text.replace(old, new)))


def test_every_key_is_described():
    def undescribed(schema, path=""):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value:
                yield f"{path}{key}"

    schema = rule_schema()
    assert [*undescribed(schema), *(name for key, value in schema["$defs"].items() for name in undescribed(value, f"{key}."))] == []
