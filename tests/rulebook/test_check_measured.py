"""Rules about measurements: what is accepted, and that every mistake is named with its place."""

from __future__ import annotations

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import RuleErrors, load_text
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.vocabulary import RUN_LAYERS

COUNT = "count() counts nodes of a traced model (count layers with len([layer for layer in probe.layers if ...]))"
PROBE = """\
id: AC001
name: small-rule
severity: warning
scope: probe
summary: A layer with a small output
why: Because.
references:
  - title: A book
define:
  ops: {mine: [linear, conv]}
  values: {deep: probe.weight_layers > 3}
when: deep and context.task != 'rl'
pattern:
  layer: layer
  op: mine
  where: layer.act_std < 3 and deep
message: "{layer.name} to {layer_all[-1].name}: {matches} of {probe.weight_layers}"
adjust:
  - {when: layer.always_dead > 0.5, severity: error, message: "{layer.name} is dead"}
report: model
evidence: {act_std: layer.act_std}
fix: {applicability: display, description: "mend {layer.name}"}
explained_by: AC002
examples:
  bad:
    - code: x = 1
      probe: {loss: mse, lr: 1, steps: 3}
      expect: [1]
  good:
    - code: y = 1
"""

GRAPH = """\
id: AC001
name: small-rule
severity: warning
scope: graph
summary: A convolution
why: Because.
references:
  - title: A book
pattern: {node: conv, op: conv}
message: a convolution
measured:
  confirm: all([layer.act_std > 1 for layer in found])
  withdraw: probe.loss < 1
  evidence: {act_std: "found[0].act_std"}
  message: measured {found[0].act_std}
  reason: measured {found[0].act_std}
examples:
  bad:
    - {code: x, expect: 1}
    - {code: x, scope: probe, probe: {batch_size: 4}, expect: 1}
  good:
    - code: y
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(RuleError) as caught:
        load_text(text, "r.yaml")
    errors = caught.value.errors if isinstance(caught.value, RuleErrors) else [caught.value]
    return [str(error) for error in errors]


def test_right_rules_are_read():
    rule = load_text(PROBE, "").rule
    assert (rule.pattern.layer, rule.pattern.op, rule.explained_by, rule.examples.bad[0].probe) == (
        "layer", ["mine"], ["AC002"], {"loss": "mse", "lr": 1, "steps": 3},
    )  # fmt: skip
    assert load_text(GRAPH, "").rule.measured.reason == "measured {found[0].act_std}"
    whole = PROBE.replace("  layer: layer\n  op: mine\n  where: layer.act_std < 3 and deep", "  where: deep")
    for words in ("{layer.name} to {layer_all[-1].name}", '  - {when: layer.always_dead > 0.5, severity: error, message: "{layer.name} is dead"}\n',
                  "layer.act_std", "{layer.name}"):  # fmt: skip
        whole = whole.replace(words, {"layer.act_std": "probe.loss"}.get(words, ""))
    run = load_text(whole.replace("adjust:\n", ""), "").rule
    assert (run.pattern.layer, run.pattern.op) == (None, ["any"])


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("layer.act_std < 3", "layer.act_sdt < 3", "16:16: 'layer' has no attribute 'act_sdt' (did you mean 'act_std'?)"),
        ("layer.act_std < 3", "layer.act_std_last < bn", "16:31: unknown name 'bn' (known here: context, deep, layer, probe)"),
        ("probe.weight_layers > 3", "probe.wieght_layers > 3", "11:24: 'probe' has no attribute 'wieght_layers' (did you mean 'weight_layers'?)"),
        ("op: mine", "op: [mine, tahn]", "15:14: unknown operation or group 'tahn' (did you mean 'tanh'?)"),
        ("layer.act_std < 3 and", "count(conv) > 1 and", f"16:10: {COUNT}"),
        ("deep and context.task", "model.nodes and context.task", "12:7: unknown name 'model' (known here: context, deep, probe)"),
        ("values: {deep", "values: {layer: 'True', deep", "14:10: 'layer' already means something else here (choose another name)"),
        ("matches} of", "layer_last} of", "17:50: unknown name 'layer_last' (did you mean 'layer_all'?)"),
        ('severity: error, message: "{layer.name} is dead"}', "}", "19:5: this adjustment changes nothing (give it 'severity', 'confidence' or 'message')"),
        ("report: model", "at: layer", "20:1: the finding points at the first layer that the pattern names (leave 'at' out)"),
        ("report: model", "related: [layer]", "20:1: the other layers of the finding are related by themselves (leave 'related' out)"),
        ("display, desc", "safe, desc", "22:22: a fix in words is 'display'"),
        ("display, desc", "display, edit: insert_eval, desc", "22:31: 'edit' needs a rule on the graph or on scripts (say in words what to do)"),
        ("steps: 3", "step: 3", "27:33: unknown setting of a probe 'step' (did you mean 'steps'?)"),
        ("steps: 3", "steps: many", "27:40: 'steps' cannot be 'many'"),
        ("steps: 3", "steps: true", "27:40: 'steps' cannot be 'True'"),
        ("explained_by: AC002", "measured: {confirm: 'True'}", "23:1: 'measured' is for rules on the graph (a rule of scope 'probe' is measured itself)"),
    ],
)
def test_mistakes_in_rules_about_measurements(old, new, error):
    assert old in PROBE
    assert errors_of(PROBE.replace(old, new, 1)) == [f"r.yaml:{error}"]


def test_a_pattern_of_another_kind():
    assert errors_of(PROBE.replace("  layer: layer\n", "  node: layer\n"))[0] == (
        "r.yaml:13:1: a measurement has layers, not nodes or modules (name a layer with 'layer', or give 'where' alone for the whole run)"
    )
    graph = GRAPH.replace("{node: conv, op: conv}", "{layer: conv, where: 'True'}")
    assert errors_of(graph)[0] == "r.yaml:9:1: a traced model has nodes and modules, not measured layers (write 'scope: probe', or name a node)"
    script = GRAPH.replace("scope: graph", "scope: script").replace("{node: conv, op: conv}", "{layer: conv, where: 'True'}")
    assert "r.yaml:9:1: a script has events, not measured layers (name the event with 'node')" in errors_of(script)
    reserved = errors_of(PROBE.replace("layer: layer", "layer: probe"))[0]
    assert reserved == (
        "r.yaml:14:10: 'probe' is reserved (reserved: abs, all, any, context, count, group_count, has, len, matches, max, min, model, probe, "
        "prod, round, sorted, sum, via)"
    )
    misspelt = PROBE.replace("layer: layer", "layre: layer")
    assert "r.yaml:14:3: unknown key 'layre' (did you mean 'layer'?)" in errors_of(misspelt)
    assert errors_of(PROBE.replace("  where: layer.act_std < 3 and deep\n", "")) == ["r.yaml:14:3: 'where' is missing"]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("at: loss", f"'at' names 'loss', which holds no names of layers (one of {', '.join(RUN_LAYERS)})"),
        ("at: nonfinite_layers", "'at' names 'nonfinite_layers', which holds no names of layers (did you mean 'nonfinite_layer'?)"),
    ],
)
def test_where_a_finding_about_the_run_points(place, error):
    text = PROBE.replace("  layer: layer\n  op: mine\n  where: layer.act_std < 3 and deep", "  where: deep").replace("report: model", place)
    assert any(error in found for found in errors_of(text))


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("[layer.act_std > 1 for layer in found]", "[layer.act_std > 1 for layer in fuond]", "12:48: unknown name 'fuond' (did you mean 'found'?)"),
        ("probe.loss < 1", "probe.los < 1", "13:19: 'probe' has no attribute 'los' (did you mean 'loss'?)"),
        ("probe.loss < 1", "count(conv) < 1", "13:13: count() counts nodes of a traced model (count layers with len([layer for layer in probe.layers if ...]))"),
        ("  reason: measured {found[0].act_std}\n", "", "11:1: 'reason' is missing (what is taken back is shown with the measurement)"),
        ("  withdraw: probe.loss < 1\n", "", "15:3: a reason for nothing that is taken back (give 'withdraw' a condition)"),
        ("  confirm: all([layer.act_std > 1 for layer in found])\n", "", "14:3: a message for nothing that is confirmed (give 'confirm' a condition)"),
        ("measured:\n", "explained_by: AC002\nmeasured:\n", "11:1: only rules of scope 'probe' are explained by others"),
        ("scope: probe, probe", "probe", "20:25: only examples of scope 'probe' are probed (write 'scope: probe' in the example)"),
    ],
)
def test_mistakes_in_what_measurements_say(old, new, error):
    assert old in GRAPH
    assert errors_of(GRAPH.replace(old, new, 1)) == [f"r.yaml:{error}"]


def test_a_measurement_that_decides_nothing():
    start = GRAPH.index("  confirm")
    text = GRAPH[:start] + "  evidence: {loss: probe.loss}\n" + GRAPH[GRAPH.index("examples:") :]
    assert errors_of(text) == ["r.yaml:11:1: a measurement that decides nothing (give it 'confirm' or 'withdraw')"]


def test_an_example_of_a_side_that_the_rule_does_not_have():
    start = GRAPH.index("measured:")
    text = GRAPH[:start] + GRAPH[GRAPH.index("examples:") :]
    assert "r.yaml:14:24: the rule has no side for 'probe'" in errors_of(text)


def test_thresholds_are_explained():
    page = explain_markdown(load_text(PROBE, "").rule)
    assert (
        "Speaks of a layer `layer` (mine) where `deep and context.task != 'rl'` and `layer.act_std < 3 and deep`.\n\n"
        "There\n\n- `deep` is `probe.weight_layers > 3`\n"
    ) in page
    assert "Refers to AC002 where one of them speaks on the same layers." in page
    assert "Reported: line 1. Probed with `loss = mse`, `lr = 1`, `steps = 3`." in page
    page = explain_markdown(load_text(GRAPH, "").rule)
    assert (
        "A probe of the model decides, over the layers `found` that the finding names:\n\n"
        "- **confirmed** where `all([layer.act_std > 1 for layer in found])`: measured `act std`\n"
        "- **withdrawn** where `probe.loss < 1`: measured `act std`"
    ) in page
