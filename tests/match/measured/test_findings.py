"""From measurements to findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from normadvisor.errors import RuleError
from normadvisor.match.measured import measured_findings
from normadvisor.rulebook import load_text
from normadvisor.types import Applicability, Confidence, Finding, Fix, Location, Related, RunContext, Severity

ROOT = Path("/")


def rules_of(*texts):
    return [load_text(text, "").rule for text in texts]


def found(measurements, *texts, **options):
    return measured_findings(measurements, rules_of(*texts), options.pop("context", RunContext()), ROOT, **options)


def said(findings):
    return [(finding.line, finding.modules, finding.message) for finding in findings]


def test_one_finding_per_line_that_builds_layers(chain, rule_text):
    made = chain([[1.0]] * 3)
    findings = found(made, rule_text)
    assert said(findings) == [
        (10, ("layers.0",), "layers.0 to layers.0: 2 of 3"),
        (11, ("layers.1",), "layers.1 to layers.1: 2 of 3"),
    ]
    assert findings[0] == Finding(
        rule="AC001",
        name="small-rule",
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        message="layers.0 to layers.0: 2 of 3",
        path="net.py",
        line=10,
        column=1,
        model="net.py:Net",
        modules=("layers.0",),
        evidence={"act_std": 1.0},
        fix=Fix(Applicability.DISPLAY, "mend layers.0"),
        fingerprint=findings[0].fingerprint,
    )
    assert findings[0].fingerprint != findings[1].fingerprint
    together = replace(made, layers=tuple(replace(layer, location=Location("net.py", 7)) for layer in made.layers))
    assert said(found(together, rule_text)) == [(7, ("layers.0", "layers.1"), "layers.0 to layers.1: 2 of 3")]
    nowhere = replace(made, layers=tuple(replace(layer, location=None) for layer in made.layers))
    assert [(finding.path, finding.modules) for finding in found(nowhere, rule_text)] == [(None, ("layers.0",)), (None, ("layers.1",))]


def test_one_finding_for_the_model_says_where_it_starts_and_ends(chain, rule_text):
    made = chain([[1.0]] * 9)
    (finding,) = found(made, rule_text.replace("act_std < 3", "act_std < 200") + "report: model\n")
    assert said([finding]) == [(10, tuple(f"layers.{index}" for index in range(8)), "layers.0 to layers.7: 8 of 9")]
    assert finding.related == tuple(Related("net.py", 10 + index, f"`layers.{index}` is built here") for index in (1, 2, 3, 7))


def test_it_points_into_the_users_files_where_it_can(chain, rule_text, tmp_path):
    made = chain([[1.0]] * 2)
    own, installed = tmp_path / "net.py", tmp_path / "site-packages" / "lib.py"
    layers = (replace(made.layers[0], location=Location(str(installed), 3)), replace(made.layers[1], location=Location(str(own), 5)))
    (finding,) = measured_findings(replace(made, layers=layers), rules_of(rule_text + "report: model\n"), RunContext(), tmp_path)
    assert (finding.path, finding.line, finding.modules) == (str(own), 5, ("layers.0", "layers.1"))
    assert finding.related == (Related(str(installed), 3, "`layers.0` is built here"),)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (("op: linear", "op: any"), [10, 11]),
        (("op: linear", "op: linear_map"), [10, 11]),
        (("op: linear", "op: [conv, tanh]"), []),
        (("  op: linear\n", ""), [10, 11]),
        (("layer.act_std < 3", "layer.act_std < 3 and layer.bn_noise < 1"), []),
        (("layer.act_std < 3", "layer.act_std < 3 and context.task != 'rl'"), []),
    ],
)
def test_which_layers(chain, rule_text, change, lines):
    findings = found(chain([[1.0]] * 2), rule_text.replace(*change), context=RunContext(task="rl"))
    assert [finding.line for finding in findings] == lines


def test_conditions_on_the_run_and_values(chain, rule_text):
    text = rule_text.replace("pattern:", "define:\n  ops: {mine: [linear]}\n  values: {few: probe.weight_layers < 3, many: not few}\nwhen: many\npattern:")
    text = text.replace("op: linear\n", "op: mine\n", 1)
    assert [len(found(chain([[1.0]] * count), text)) for count in (2, 3)] == [0, 2]


def test_the_loudest_layer_speaks(chain, rule_text):
    text = rule_text.replace("evidence:", "adjust:\n  - {when: layer.order == 1, severity: error, confidence: suspected, message: 'loud {layer.name}'}\nreport: model\nevidence:")
    (finding,) = found(chain([[1.0]] * 3), text)
    assert (finding.severity, finding.confidence, finding.message) == (Severity.ERROR, Confidence.SUSPECTED, "loud layers.1")


RUN = """\
id: AC002
name: run-rule
severity: warning
scope: probe
summary: A loss above one
why: Because.
references:
  - title: A book
pattern:
  where: probe.loss > 1
message: "a loss of {probe.loss:.1f}"
examples:
  bad: [{code: x, expect: 1}]
  good: [{code: y}]
"""


def test_a_finding_about_the_run(chain):
    measurements = chain([[1.0, 1.0]] * 3, loss=[2.0, 3.0])
    place = Location("net.py", 3, 1, 9, 2)
    (finding,) = found(measurements, RUN, place=place)
    assert (finding.path, finding.line, finding.end_line, finding.modules, finding.message) == ("net.py", 3, 9, (), "a loss of 2.5")
    assert found(measurements, RUN)[0].path is None
    assert found(chain([[1.0]]), RUN) == []


def test_a_finding_about_the_run_at_a_layer(chain):
    text = RUN.replace("probe.loss > 1", "probe.nonfinite_step is not None") + "at: nonfinite_layer\n"
    measurements = chain([[1.0]] * 3, nonfinite_step=0, nonfinite_layer="layers.2")
    assert said(found(measurements, text)) == [(12, ("layers.2",), "a loss of 1.0")]
    several = chain([[1.0]] * 3, train_in_eval=["layers.1", "gone"])
    text = RUN.replace("probe.loss > 1", "len(probe.train_in_eval) > 0") + "at: train_in_eval\n"
    assert said(found(several, text)) == [(11, ("layers.1",), "a loss of 1.0")]
    nowhere = chain([[1.0]] * 3, nonfinite_step=0, nonfinite_layer=None)
    text = RUN.replace("probe.loss > 1", "probe.nonfinite_step is not None") + "at: nonfinite_layer\n"
    assert said(found(nowhere, text, place=Location("net.py", 3))) == [(3, (), "a loss of 1.0")]
    line = chain([[1.0]] * 3, nonfinite_step=0, nonfinite_layer="layers.2", nonfinite_line="C:/own/net.py:40")
    (finding,) = found(line, text)
    assert (finding.path, finding.line, finding.modules) == ("C:/own/net.py", 40, ("layers.2",))


def static(rule, modules, line, model="net.py:Net"):
    return Finding(
        rule=rule, name="x", severity=Severity.INFO, confidence=Confidence.SUSPECTED, message="cause", path="net.py", line=line, model=model, modules=modules
    )


def test_what_explains_it_is_named(chain, rule_text):
    text = rule_text + "explained_by: [AC007, AC008]\n"
    causes = [static("AC008", ("layers.1.inner",), 30), static("AC007", ("layers.0", "layers.9"), 20), static("AC007", ("layers.2",), 21),
              static("AC009", ("layers.0",), 22), static("AC007", ("layers.0",), 23, "other:Net")]  # fmt: skip
    first, second = found(chain([[1.0]] * 2), text, static=causes)
    assert (first.related, first.evidence["explained_by"]) == ((Related("net.py", 20, "AC007: cause"),), ["AC007"])
    assert (second.related, second.evidence["explained_by"]) == ((Related("net.py", 30, "AC008: cause"),), ["AC008"])
    assert "explained_by" not in found(chain([[1.0]] * 2), text)[0].evidence
    (run,) = found(chain([[1.0]], loss=[2.0]), RUN + "explained_by: AC007\n", static=causes)
    assert run.related == (Related("net.py", 20, "AC007: cause"), Related("net.py", 21, "AC007: cause"))


def test_a_more_precise_rule_silences(chain, rule_text):
    measurements = chain([[1.0]] * 2, loss=[2.0])
    other = rule_text.replace("AC001", "AC003").replace("small-rule", "other-rule")
    silent = other.replace("layer.act_std < 3", "layer.order == 0")
    by = rule_text.replace("examples:", "silenced_by: AC003\nexamples:", 1)
    assert [(finding.rule, finding.line) for finding in found(measurements, by, silent)] == [("AC001", 11), ("AC003", 10)]


def test_an_expression_that_fails_names_its_rule(chain, rule_text):
    with pytest.raises(RuleError) as caught:
        found(chain([[1.0]]), rule_text.replace("layer.act_std < 3", "layer.name < 3"))
    assert "AC001: where: " in str(caught.value)


def test_rules_of_other_scopes_are_passed_over(chain, rule_text):
    graph = """\
id: AC009
name: graph-rule
severity: warning
scope: graph
summary: A convolution
why: Because.
references: [{title: A book}]
pattern: {node: conv, op: conv}
message: a convolution
examples: {bad: [{code: x, expect: 1}], good: [{code: y}]}
"""
    assert [finding.rule for finding in found(chain([[1.0]]), graph, rule_text)] == ["AC001"]
