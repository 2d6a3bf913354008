"""Measurements confirm findings of static rules or take them back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from normadvisor.match.measured import judged
from normadvisor.rulebook import load_text
from normadvisor.types import Confidence, Finding, RunContext, Severity, Withdrawn

RULE = """\
id: AC001
name: graph-rule
severity: warning
scope: graph
summary: A linear layer
why: Because.
references: [{title: A book}]
pattern: {node: layer, op: linear}
message: a linear layer
measured:
  confirm: all([layer.act_std > 1 for layer in found])
  withdraw: any([layer.act_std == 1 for layer in found]) and context.task == 'rl'
  evidence: {act_std: "[layer.act_std for layer in found]", nothing: probe.bn_fresh}
  message: its output varies by {found[0].act_std}
  reason: its output varies by {found[0].act_std} only
examples: {bad: [{code: x, expect: 1}], good: [{code: y}]}
"""


def finding(*modules, rule="AC001", model="net.py:Net"):
    return Finding(
        rule=rule, name="graph-rule", severity=Severity.WARNING, confidence=Confidence.SUSPECTED, message="said", model=model, modules=modules,
        evidence={"known": 1},
    )  # fmt: skip


def verdicts(measurements, findings, text=RULE, **context):
    return judged(findings, measurements, [load_text(text, "").rule], RunContext(**context))


def test_confirmed_with_the_numbers(chain):
    one = finding("layers.1", "layers.2")
    confirmed = replace(
        one, confidence=Confidence.CONFIRMED, message="said; its output varies by 2", evidence={"known": 1, "act_std": [2.0, 4.0]}
    )
    assert verdicts(chain([[1.0]] * 3), [one]) == ([confirmed], [])
    silent = RULE.replace("  message: its output varies by {found[0].act_std}\n", "")
    assert verdicts(chain([[1.0]] * 3), [one], silent)[0][0].message == "said"
    unknown = RULE.replace("varies by {found[0].act_std}\n", "varies by {found[0].bn_noise}\n")
    assert verdicts(chain([[1.0]] * 3), [one], unknown)[0][0].message == "said"


def test_withdrawn_with_the_reason(chain):
    one = finding("layers.0")
    withdrawn = Withdrawn(finding=replace(one, evidence={"known": 1, "act_std": [1.0]}), reason="its output varies by 1 only")
    assert verdicts(chain([[1.0]] * 3), [one], task="rl") == ([], [withdrawn])


@pytest.mark.parametrize(
    "one",
    [
        finding("layers.0"),  # neither condition holds
        finding("layers.9"),  # nothing was measured of it
        finding(),
        finding("layers.1", rule="AC002"),
        finding("layers.1", model="net.py:Other"),
    ],
)
def test_left_as_it_was(chain, one):
    assert verdicts(chain([[1.0]] * 3), [one]) == ([one], [])


def test_layers_inside_a_module_that_was_not_measured_itself(chain):
    kept, _ = verdicts(chain([[1.0]] * 3), [finding("layers")], RULE.replace("layer.act_std > 1", "layer.act_std > 0"))
    assert kept[0].evidence["act_std"] == [1.0, 2.0, 4.0]
    assert verdicts(chain([[1.0]] * 3), [finding("layer")])[0][0].confidence is Confidence.SUSPECTED


def test_order_is_kept(chain):
    several = [finding("layers.2"), finding("layers.0"), finding("layers.1")]
    kept, withdrawn = verdicts(chain([[1.0]] * 3), several, task="rl")
    assert [one.modules for one in kept] == [("layers.2",), ("layers.1",)]
    assert [one.finding.modules for one in withdrawn] == [("layers.0",)]
