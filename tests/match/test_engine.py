from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.match import conditions, engine, match
from normadvisor.match.conditions import OncePerRule
from normadvisor.rulebook import load_rules
from normadvisor.targets.inputs.spec import Inputs
from normadvisor.types import RunContext


def test_a_rule_is_made_ready_once(tmp_path, monkeypatch) -> None:
    made = []

    def compiled(rule, compile_rule=engine.compile_rule):
        made.append(rule)
        return compile_rule(rule)

    monkeypatch.setattr(engine, "_compiled", OncePerRule(compiled))
    rule = next(rule for rule in load_rules() if rule.id == "NA102")
    other = replace(rule, message="another message")
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    graph = trace(model, Inputs((torch.randn(2, 3, 8, 8),), given=True), target="net", sites={})
    messages = [finding.message for given in (rule, rule, other, rule) for finding in match(graph, [given], RunContext(), tmp_path)]
    expected = "the bias of layer 0 has no effect: layer 1 subtracts the mean of every channel right after it"
    assert messages == [expected, expected, "another message", expected]
    assert [id(item) for item in made] == [id(rule), id(other)]


def test_what_is_made_of_rules_does_not_grow_without_end(monkeypatch) -> None:
    """A rule asked for again after the bound was reached is made anew; one whose making fails is not remembered."""
    monkeypatch.setattr(conditions, "_MOST_RULES", 2)
    made = []
    once = OncePerRule(lambda rule: made.append(rule.message) or rule.message)
    rule = next(iter(load_rules()))
    rules = [replace(rule, message=str(number)) for number in range(3)]
    assert [once(rules[number]) for number in (0, 1, 1, 0, 2, 0, 2)] == ["0", "1", "1", "0", "2", "0", "2"]
    assert made == ["0", "1", "2", "0"]
