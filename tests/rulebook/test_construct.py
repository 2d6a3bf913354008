"""Dataclasses from plain data: the same as pydantic's, or left to it."""

from __future__ import annotations

import pytest
import yaml

from normadvisor.rulebook import builtin_dir
from normadvisor.rulebook.construct import IrregularError, construct
from normadvisor.rulebook.files import rule_files
from normadvisor.rulebook.model import Chain, Reference, Relation, Rule
from normadvisor.rulebook.shape import normalise, rule_adapter


@pytest.mark.parametrize("path", rule_files(builtin_dir()), ids=lambda path: path.stem)
def test_agrees_with_pydantic(path):
    data = normalise(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert construct(Rule, data) == rule_adapter().validate_python(data)


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (Chain, {"node": "run", "op": "conv", "min": 0}),
        (Chain, {"node": "run", "op": "conv", "min": True}),
        (Chain, {"node": "run", "op": "conv", "min": "3"}),
        (Chain, {"node": "run"}),
        (Chain, {"node": "run", "op": ["conv", 3]}),
        (Chain, {"node": 3, "op": "conv"}),
        (Chain, {"node": "run", "op": "conv", "mim": 3}),
        (Chain, []),
        (Relation, {"node": "a", "op": "conv", "within": 10_001}),
        (Relation, {"node": "a", "op": "conv", "paths": "none"}),
        (Relation, {"node": "a", "op": "conv", "paths": []}),
        (Relation, {"node": "a", "op": "conv", "precedes": {"node": "b", "op": "conv"}}),
        (Relation, {"node": "a", "op": "conv", "precedes": [{"node": "b"}]}),
        (Reference, {"title": None}),
    ],
)
def test_what_does_not_fit_is_left_to_pydantic(cls, data):
    with pytest.raises(IrregularError):
        construct(cls, data)


def test_nested_classes_are_made():
    made = construct(Relation, {"node": "a", "op": "conv", "without": [{"follows": [{"node": "b", "op": ["relu"]}]}]})
    assert made.without[0].follows[0] == Relation(node="b", op=["relu"])
