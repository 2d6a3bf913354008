"""Rules about scripts: what is accepted, and that every mistake is named with its place."""

from __future__ import annotations

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import RuleErrors, load_text
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.script_values import of_graph

SCRIPT = """\
id: AC001
name: small-rule
severity: warning
scope: script
summary: A call in train mode
why: Because.
references:
  - title: A book
define:
  values: {small: context.batch_size < 8}
when: context.task != 'rl'
pattern:
  node: call
  op: model_call
  where: call.mode == 'train' and small
  any_of:
    - where: call.batchnorm == 'yes'
    - where: call.dropout == 'yes'
  without:
    - where: call.deliberate is not None
message: "{call.model} runs {matches} times"
adjust:
  - {when: call.op == 'model_call' and 'switch' in call.places, severity: error, message: "{call.text}"}
at: built
related: [switch, layer]
evidence: {mode: call.mode}
fix: {applicability: unsafe, description: "call {call.model}.eval()", edit: insert_eval}
examples:
  bad:
    - code: x = 1
      expect: [1]
  good:
    - code: y = 1
"""

SIDE = """\
script:
  pattern: {node: loss, op: [loss_call, model_call], where: loss.activation == 'softmax'}
  message: "{loss.loss} of {loss.mode}"
  severity: info
  related: activation
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(RuleError) as caught:
        load_text(text, "r.yaml")
    errors = caught.value.errors if isinstance(caught.value, RuleErrors) else [caught.value]
    return [str(error) for error in errors]


def test_a_script_rule_is_read():
    rule = load_text(SCRIPT, "").rule
    assert (rule.scope, rule.pattern.op, rule.at, rule.related, rule.fix.edit) == (
        "script", ["model_call"], "built", ["switch", "layer"], "insert_eval",
    )  # fmt: skip


def test_a_graph_rule_may_have_a_script_side(rule_text):
    rule = load_text(rule_text + SIDE, "").rule
    assert rule.script.pattern.op == ["loss_call", "model_call"]
    assert (rule.script.severity, rule.script.related, rule.script.confidence) == ("info", ["activation"], "confirmed")


KINDS = "one of model_call, optimizer_step, export, loss_call, dropout_call, initialization, optimizer, distributed_wrap, gradient_penalty"


@pytest.mark.parametrize(
    ("old", "new", "errors"),
    [
        ("op: model_call", "op: modelcall", ["r.yaml:14:7: unknown kind of event 'modelcall' (did you mean 'model_call'?)"]),
        ("op: model_call", "op: [model_call, conv]", [f"r.yaml:14:20: unknown kind of event 'conv' ({KINDS})"]),
        ("where: call.mode ==", "where: call.mod ==", ["r.yaml:15:15: 'call' has no attribute 'mod' (did you mean 'mode'?)"]),
        ("where: call.mode ==", "where: call.exporter ==", None),
        ("where: call.batchnorm ==", "where: call.batch_norm ==", ["r.yaml:17:19: 'call' has no attribute 'batch_norm' (did you mean 'batchnorm'?)"]),
        ("where: call.deliberate is", "where: cal.deliberate is", ["r.yaml:20:14: unknown name 'cal' (did you mean 'call'?)"]),
        ("where: call.deliberate is not None", "precedes: {node: a, op: model_call}", [
            ("r.yaml:20:7: 'precedes' follows the data flow of a graph; events of a script have none "
            "(ask the event for what happened before it, with 'where')")]),
        ("    - where: call.deliberate is not None", "    - {}", ["r.yaml:20:7: an empty clause says nothing (give it 'where')"]),
        ("  any_of:", "  follows: [{node: a, op: conv}]\n  any_of:", [
            ("r.yaml:16:3: 'follows' follows the data flow of a graph; events of a script have none "
            "(ask the event for what happened before it, with 'where')")]),
        ("  any_of:", "  chain: {node: run, op: conv}\n  any_of:", [
            "r.yaml:16:3: 'chain' follows the data flow of a graph; events of a script have none"]),
        ("and small", "and model.nodes > 2", ["r.yaml:15:35: unknown name 'model' (a script has no traced model)"]),
        ("and small", "and count(conv) > 2", ["r.yaml:15:35: count() counts nodes of a traced model (a script has no traced model)"]),
        ("{small: context.batch_size < 8}", "{small: model.nodes < 8}", ["r.yaml:10:19: unknown name 'model' (a script has no traced model)", "r.yaml:15:35: unknown name 'small' (a script has no traced model)"]),
        ("{small: context.batch_size < 8}", "{small: '1', context: '2'}", ["r.yaml:10:24: 'context' is reserved (reserved: abs, all, any, context"]),
        ("  values: {small", "  ops: {mine: [conv]}\n  values: {small", ["r.yaml:10:9: groups of operations mean nothing in a script (list the kinds of events in 'op')"]),
        ("  values: {small", "  patterns: {mine: {node: a, op: conv}}\n  values: {small", ["r.yaml:10:14: patterns to count mean nothing in a script (a script has no traced model)"]),
        ("when: context.task", "when: call.task", ["r.yaml:11:7: unknown name 'call'"]),
        ("  node: call\n", "  node: model\n", None),
        ("  node: call\n  op: model_call\n", "  module: call\n  op: model_call\n", None),
        ("at: built", "at: build", ["r.yaml:24:5: 'at' names 'build', which is no place of an event (did you mean 'built'?)"]),
        ("related: [switch, layer]", "related: [switch, layers]", ["r.yaml:25:19: 'related' names 'layers', which is no place of an event (did you mean 'layer'?)"]),
        ("edit: insert_eval", "edit: insert_evil", ["r.yaml:27:77: unknown edit 'insert_evil' (did you mean 'insert_eval'?)"]),
        ("{call.model} runs", "{call.modell} runs", ["r.yaml:21:17: 'call' has no attribute 'modell' (did you mean 'model'?)"]),
        ('severity: error, message: "{call.text}"', "", ["r.yaml:23:5: this adjustment changes nothing"]),
        ("evidence: {mode: call.mode}", "evidence: {mode: call.moode}", ["r.yaml:26:23: 'call' has no attribute 'moode' (did you mean 'mode'?)"]),
        ("at: built", "report: model\nat: built", ["r.yaml:24:9: a script rule reports every place (leave 'report' out)"]),
        ("    - code: y = 1", "    - code: y = 1\n      model: net", ["r.yaml:33:7: a script needs no model and no inputs (leave 'model' and 'inputs' out)"]),
        ("    - code: y = 1", "    - code: y = 1\n      scope: graph", ["r.yaml:34:14: the rule has no side for 'graph'"]),
        ("examples:\n", f"{SIDE}examples:\n", ["r.yaml:28:1: the rule is about scripts already ('script' is for rules on the graph)"]),
    ],
)  # fmt: skip
def test_mistakes(old, new, errors):
    assert old in SCRIPT
    found = errors_of(SCRIPT.replace(old, new, 1))
    if errors is None:
        assert found
        assert all(item.startswith("r.yaml:") for item in found)
    else:
        assert len(found) == len(errors), found
        assert all(item.startswith(error) for item, error in zip(found, errors, strict=True)), found


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("op: [loss_call", "op: [los_call", "r.yaml:25:30: unknown kind of event 'los_call' (did you mean 'loss_call'?)"),
        ("loss.activation ==", "loss.activaton ==", "r.yaml:25:66: 'loss' has no attribute 'activaton' (did you mean 'activation'?)"),
        ("  message:", "  mesage:", "r.yaml:25:3: 'message' is missing"),
        ("  severity: info", "  severty: info", "r.yaml:27:3: unknown key 'severty' (did you mean 'severity'?)"),
        ("related: activation", "related: bn", "r.yaml:28:12: 'related' names 'bn', which is no place of an event"),
        ("related: activation", "related: activation\n  fix: {applicability: safe, description: x, edit: y}", "r.yaml:29:52: unknown edit 'y' (one of"),
    ],
)
def test_mistakes_of_the_side_of_a_graph_rule(rule_text, old, new, error):
    assert old in SIDE
    assert errors_of(rule_text + SIDE.replace(old, new))[0].startswith(error)


def test_values_that_need_the_model_stay_with_the_graph(rule_text):
    values = "define: {values: {nodes: model.nodes, twice: nodes * 2, batch: context.batch_size}}\n"
    text = values + rule_text + SIDE
    assert of_graph(load_text(text, "").rule) == {"nodes", "twice"}
    assert load_text(text.replace("== 'softmax'", "== 'softmax' and batch > 1"), "").rule
    assert errors_of(text.replace("== 'softmax'", "== 'softmax' and twice > 1")) == ["r.yaml:26:94: unknown name 'twice' (a script has no traced model)"]


def test_an_edit_belongs_to_a_script(rule_text):
    text = rule_text + "fix: {applicability: safe, description: x, edit: insert_eval}\n"
    assert errors_of(text) == ["r.yaml:24:44: an 'edit' changes a script (it belongs to the fix of the 'script' section)"]


def test_an_example_may_be_for_the_script_side(rule_text):
    text = rule_text.replace("    - code: y = 1", "    - code: y = 1\n      scope: script")
    assert load_text(text + SIDE, "").rule.examples.good[0].scope == "script"
    assert errors_of(text) == ["r.yaml:24:14: the rule has no side for 'script'"]


def test_the_page_tells_of_the_script_side(rule_text):
    fix = "  fix: {applicability: unsafe, description: 'Do {loss.loss}.', edit: insert_eval}\n"
    page = explain_markdown(load_text(rule_text + SIDE + fix, "").rule)
    assert "looks at the traced model and the source" in page
    assert "In a script (info, confirmed):\n\n> `loss` of `mode`" in page
    assert "In a script:\n\n**Unsafe**: what is learned or stored changes.\n\nDo `loss`.\n\nThe edit `insert_eval`: put the model into eval mode" in page
    page = explain_markdown(load_text(SCRIPT + "silenced_by: AC002\n", "").rule)
    assert "Gives way to AC002 at the same place or for the same cause." in page
