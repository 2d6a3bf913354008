"""Rule files: what is accepted, and that every mistake is named with its place."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from normadvisor.errors import RuleError
from normadvisor.rulebook import RuleErrors, builtin_dir, load_file, load_rules, load_text
from normadvisor.rulebook.files import rule_files
from normadvisor.types import Severity

BUILTIN = sorted(path.relative_to(builtin_dir()).as_posix() for path in rule_files(builtin_dir()))


def errors_of(text: str) -> list[str]:
    with pytest.raises(RuleError) as caught:
        load_text(text, "r.yaml")
    errors = caught.value.errors if isinstance(caught.value, RuleErrors) else [caught.value]
    return [str(error) for error in errors]


def test_a_rule_is_read(rule_text):
    rule = load_text(rule_text, "r.yaml").rule
    assert (rule.id, rule.severity, rule.source) == ("AC001", Severity.WARNING, "r.yaml")
    assert rule.pattern.precedes[0].op == ["batch_norm"]


def test_windows_lines_and_a_byte_order_mark_change_nothing(rule_text, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + rule_text.replace("\n", "\r\n").encode())
    assert asdict(load_file(path).rule) == {**asdict(load_text(rule_text, "").rule), "source": str(path)}


def test_shorthands_mean_lists_of_one(rule_text):
    long = load_text(
        rule_text.replace("op: conv\n", "op: [conv]\n").replace("through: identity_like", "through: [identity_like]") + "exempt: [x]\n", ""
    )
    short = rule_text.replace("  precedes:\n    - node: bn\n      op: [batch_norm]\n", "  precedes:\n      node: bn\n      op: batch_norm\n")
    short = short.replace("expect: [1]", "expect: 1") + "exempt: x\n"
    assert asdict(load_text(short, "").rule) == asdict(long.rule)
    clause = "  without:\n    - follows:\n        - node: act\n          op: [relu]\n          until: [pad]\n"
    compact = "  without: {follows: {node: act, op: relu, until: pad}}\n"
    assert load_text(rule_text.replace("message:", compact + "message:"), "").rule == load_text(rule_text.replace("message:", clause + "message:"), "").rule


@pytest.mark.parametrize(
    ("old", "new", "errors"),
    [
        ("severity: warning", "severity: warn", ["r.yaml:3:11: 'severity' cannot be 'warn' (did you mean 'warning'?)"]),
        ("severity: warning", "severity: 3", ["r.yaml:3:11: 'severity' cannot be '3' (one of info, warning, error)"]),
        ("severity: warning", "severty: warning", [
            "r.yaml:1:1: 'severity' is missing ('severty' looks like it)", "r.yaml:3:1: unknown key 'severty' (did you mean 'severity'?)"]),
        ("scope: graph", "scope: graphs", ["r.yaml:4:8: 'scope' cannot be 'graphs' (did you mean 'graph'?)"]),
        ("id: AC001", "id: ac1", ["r.yaml:1:5: 'ac1' is not a rule id (two or more capitals and three digits, such as NA102)"]),
        ("id: AC001", "source: x\nid: AC001", ["r.yaml:1:1: unknown key 'source' (known here: id, name"]),
        ("name: small-rule", "name: Small_rule", [
            "r.yaml:2:7: 'Small_rule' is not a rule name (lower-case words joined by hyphens, such as bias-before-norm)"]),
        ("name: small-rule", "name: 12", ["r.yaml:2:7: 'name' must be a string, this is '12' (put it in quotes)"]),
        ("summary: A convolution before a norm", "summary: It is.", ["r.yaml:5:10: the summary must be one line without a full stop"]),
        ("why: Because.", "why:", ["r.yaml:6:5: 'why' must be a string, this is empty (it was left empty)"]),
        ("why: Because.", "why: {a: b}", [
            "r.yaml:6:6: 'why' must be a string, this is a mapping (text with ': ' or '{' at its start must be in quotes)"]),
        ("  - title: A book", "  - titel: A book", [
            "r.yaml:8:5: 'title' is missing ('titel' looks like it)", "r.yaml:8:5: unknown key 'titel' (did you mean 'title'?)"]),
        ("references:\n  - title: A book", "references: []", ["r.yaml:7:13: 'references' must not be empty"]),
        ("  op: conv\n", "  op: convolution\n", ["r.yaml:11:7: unknown operation or group 'convolution'"]),
        ("  op: conv\n", "  op: [conv, batch_nrm]\n", ["r.yaml:11:14: unknown operation or group 'batch_nrm' (did you mean 'batch_norm'?)"]),
        ("  op: conv\n", "  op: 3\n", ["r.yaml:11:7: 'op' must be a string, this is '3' (put it in quotes)"]),
        ("  op: conv\n", "  op: any\n", ["r.yaml:11:7: unknown operation or group 'any'"]),
        ("      through: identity_like", "      through: any\n      within: 0", ["r.yaml:17:15: 'within': input should be greater than or equal to 1"]),
        ("      through: identity_like", "      through: any\n      paths: al", ["r.yaml:17:14: 'paths' cannot be 'al' (one of some, every)"]),
        ("  node: conv\n", "  node: model\n", None),
        ("  where: conv.bias", "  where: conv.bais", ["r.yaml:12:15: 'conv' has no attribute 'bais' (did you mean 'bias'?)"]),
        ("  where: conv.bias", "  where: bn.eps", ["r.yaml:12:10: unknown name 'bn' (known here: context, conv, model)"]),
        ("  where: conv.bias", "  where: matches > 1", ["r.yaml:12:10: unknown name 'matches'"]),
        ("  where: conv.bias", "  where: true", ["r.yaml:12:10: 'where' must be a string, this is 'True' (put it in quotes)"]),
        ("  where: conv.bias", "  were: conv.bias", ["r.yaml:12:3: unknown key 'were' (did you mean 'where'?)"]),
        ("    - node: bn", "    - node: conv", None),
        ("    - node: bn", "    - node: Bn", None),
        ("    - node: bn", "    - node: not", None),
        ("{conv.module} stands", "{conv.modul} stands", ["r.yaml:17:17: 'conv' has no attribute 'modul' (did you mean 'module'?)"]),
        ("{conv.module} stands", "{conv.module stands", None),
        ("expect: [1]", "expect: ['x']", ["r.yaml:21:16: 'x' is not LINE or LINE:severity (such as 7 or 7:warning)"]),
        ("expect: [1]", "expect: ['1:warn']", ["r.yaml:21:16: unknown severity 'warn' (did you mean 'warning'?)"]),
        ("expect: [1]", "context: {batchsize: 2}", ["r.yaml:21:17: unknown context key 'batchsize' (did you mean 'batch_size'?)"]),
        ("expect: [1]", "context: {batch_size: two}", ["r.yaml:21:29: batch_size must be a whole number of at least 1"]),
        ("expect: [1]", "context: {task: detecton}", ["r.yaml:21:23: unknown task 'detecton' (did you mean 'detection'?)"]),
        ("expect: [1]", "context: {fine_tune: 1}", ["r.yaml:21:28: fine_tune must be true or false"]),
        ("    - code: y = 1", "    - code: y = 1\n      expect: [1]", ["r.yaml:24:7: only bad examples expect findings"]),
        ("  good:\n    - code: y = 1\n", "", ["r.yaml:19:3: 'good' is missing"]),
        ("message:", "at: norm\nmessage:", ["r.yaml:17:5: 'at' names 'norm', which the pattern does not capture"]),
        ("message:", "related: [bm]\nmessage:", ["r.yaml:17:11: 'related' names 'bm', which the pattern does not capture (did you mean 'bn'?)"]),
        ("message:", "silenced_by: AC001\nmessage:", ["r.yaml:17:14: a rule cannot be silenced by itself"]),
        ("message:", "adjust:\n  - when: matches > 1\nmessage:", [
            "r.yaml:18:5: this adjustment changes nothing (give it 'severity', 'confidence' or 'message')"]),
        ("message:", "  without:\n    - {}\nmessage:", ["r.yaml:18:7: an empty clause says nothing (give it 'where', 'precedes' or 'follows')"]),
        ("message:", "when: context.batch < 2\nmessage:", None),
        ("message:", "fix: {applicability: save, description: x}\nmessage:", ["r.yaml:17:22: 'applicability' cannot be 'save' (did you mean 'safe'?)"]),
        ("message:", "evidence:\n  x: conv.padding + foo\nmessage:", ["r.yaml:18:21: unknown name 'foo'"]),
        ("message:", "define: {ops: {conv: [relu]}}\nmessage:", ["r.yaml:17:16: 'conv' already means something else here (choose another name)"]),
        ("message:", "define: {values: {a: b, b: '1'}}\nmessage:", None),
    ],
)  # fmt: skip
def test_mistakes(rule_text, old, new, errors):
    assert old in rule_text
    found = errors_of(rule_text.replace(old, new, 1))
    if errors is None:
        assert found
        assert all(re.match(r"r\.yaml:\d+:\d+: ", item) for item in found)
    else:
        assert len(found) == len(errors)
        assert all(item.startswith(error) for item, error in zip(found, errors, strict=True)), found


def test_every_mistake_of_a_file_is_reported(rule_text):
    text = rule_text.replace("conv.bias", "cov.bias").replace("[batch_norm]", "[batchnorm]").replace("{bn.module}", "{bm.module}")
    assert [error.split(" (")[0] for error in errors_of(text)] == [
        "r.yaml:12:10: unknown name 'cov'",
        "r.yaml:15:12: unknown operation or group 'batchnorm'",
        "r.yaml:17:40: unknown name 'bm'",
    ]


def test_a_module_pattern_is_told_from_a_node_pattern(rule_text):
    start, end = rule_text.index("pattern:"), rule_text.index("message:")
    module = rule_text[:start] + "pattern:\n  module: layer\n  op: norm\n  where: not layer.ran\n" + rule_text[end:]
    module = module.replace("{conv.module} stands before {bn.module}", "{layer.name}")
    assert load_text(module, "").rule.pattern.module == "layer"
    assert errors_of(module.replace("layer.ran", "layer.name.x or layer.use")) == ["r.yaml:12:36: 'layer' has no attribute 'use' (did you mean 'fused'?)"]
    assert errors_of(module.replace("  op: norm", "  op: norm\n  precedes: {node: a, op: relu}")) == [
        "r.yaml:12:3: unknown key 'precedes' (known here: module, op, where)"
    ]


SCOPED = """\
define:
  ops: {lin: [conv, linear], more: [lin, relu]}
  patterns: {pair: {node: a, op: lin, precedes: {node: b, op: more}}}
  values: {twice: count(pair) * 2, thrice: twice + count(lin)}
when: thrice > 1 and context.batch_size < 8 and model.weight_layers > 2
pattern:
  node: end
  op: lin
  chain: {node: run, op: lin, broken_by: norm, broken_where: via.users > 1 and thrice > 0, min: 3}
  where: run.length > end.index
  follows:
    - node: up
      op: relu
      where: up.users == end.users
      through_where: via.users == end.users
      follows: {node: upper, op: relu, where: upper.users == up.users}
  any_of:
    - {where: end.bias, precedes: {node: left, op: relu}}
    - {precedes: {node: right, op: relu, where: right.users == upper.users}}
  without:
    - {precedes: {node: never, op: relu, where: never.users == left.users}}
at: left
related: [right, run]
adjust: [{when: matches > 3 and len(up_all) > 1, severity: error}]
message: "{left.module} {right.module} {run.modules} {thrice}"
"""


def test_names_are_known_from_where_they_are_bound(rule_text):
    start, end = rule_text.index("pattern:"), rule_text.index("message:")
    line_after = rule_text[end:].split("\n", 1)[1]
    text = rule_text[:start] + SCOPED + line_after
    assert load_text(text, "").rule.at == "left"
    for old, new in [
        ("where: run.length > end.index", "where: up.users"),
        ("broken_where: via.users > 1", "broken_where: end.users > 1"),
        ("where: up.users == end.users", "where: upper.users"),
        ("{where: end.bias,", "{where: right.bias,"),
        ("at: left", "at: never"),
        ("{left.module}", "{never.module}"),
        ("thrice > 1 and context", "end.users and context"),
        ("{twice: count(pair) * 2, thrice", "{twice: thrice, thrice"),
        ("op: lin, precedes: {node: b", "op: lin, where: count(pair), precedes: {node: b"),
        ("via.users == end.users", "up.users"),
        ("run.length >", "run.size >"),
    ]:
        assert text.count(old) == 1, old
        assert len(errors_of(text.replace(old, new))) == 1, new


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "{path}:1:1: the file is empty ('normadvisor rule new' writes a rule to start from)"),
        (b"# only a comment\n", "{path}:1:1: the file is empty ('normadvisor rule new' writes a rule to start from)"),
        (b"- id: AC001\n", "{path}:1:1: a rule is a mapping, this is a list (one rule per file, 'id: ...' first)"),
        (b"text\n", "{path}:1:1: a rule is a mapping, this is a single value (one rule per file, 'id: ...' first)"),
        (b"id: AC001\nname: caf\xe9\n", "{path}:2:10: not UTF-8 text (save the file as UTF-8)"),
        (b"\x00\x01\xff", "{path}:1:3: not UTF-8 text (save the file as UTF-8)"),
        (b"a: " + b"x" * 300_000, "{path}:1:1: larger than 256 KiB (one rule per file)"),
    ],
)
def test_files_that_are_no_rules(tmp_path, content, error):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RuleError) as caught:
        load_file(path)
    assert str(caught.value) == error.format(path=path)


def test_folders_are_searched_and_missing_ones_named(tmp_path, rule_text):
    (tmp_path / "rules" / "deep").mkdir(parents=True)
    (tmp_path / "rules" / "deep" / "b.yml").write_text(rule_text)
    (tmp_path / "rules" / "notes.txt").write_text("no rule")
    assert rule_files(tmp_path / "rules") == [tmp_path / "rules" / "deep" / "b.yml"]
    with pytest.raises(RuleError) as caught:
        rule_files(tmp_path / "rulse")
    assert str(caught.value) == f"no folder or file '{tmp_path}/rulse' with rules (did you mean 'rules'?)"
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path / "empty"])
    assert str(caught.value) == f"the folder '{tmp_path}/empty' holds no rules (rules are files that end in .yaml, one rule each)"


def test_rules_of_several_files_are_checked_together(tmp_path, rule_text):
    (tmp_path / "a.yaml").write_text(rule_text)
    (tmp_path / "b.yaml").write_text(rule_text.replace("small-rule", "other-rule"))
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path])
    assert str(caught.value) == f"{tmp_path}/b.yaml:1:5: two rules have the id 'AC001' (the other one is {tmp_path}/a.yaml:1:5)"
    (tmp_path / "b.yaml").write_text(rule_text.replace("AC001", "AC002").replace("small-rule", "other-rule") + "silenced_by: [AC003]\n")
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path])
    assert str(caught.value).startswith(f"{tmp_path}/b.yaml:24:15: 'silenced_by' names the unknown rule 'AC003' (did you mean 'AC00")
    (tmp_path / "a.yaml").write_text("- x\n")
    (tmp_path / "b.yaml").write_text(rule_text.replace("op: conv\n", "op: cov\n"))
    with pytest.raises(RuleErrors) as several:
        load_rules([tmp_path])
    assert str(several.value) == (
        "2 errors in 2 files:\n"
        f"  {tmp_path}/a.yaml:1:1: a rule is a mapping, this is a list (one rule per file, 'id: ...' first)\n"
        f"  {tmp_path}/b.yaml:11:7: unknown operation or group 'cov' (did you mean 'conv'?)"
    )


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_files_are_named_after_their_rule(name):
    rule = load_file(builtin_dir() / name).rule
    assert Path(name).name == f"{rule.id}-{rule.name}.yaml"


def load_or_refuse(text: str) -> None:
    try:
        load_text(text, "r.yaml")
    except RuleError as error:
        assert str(error)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_rule_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(RuleError):
        load_file(path)


LINES = (builtin_dir() / BUILTIN[0]).read_text(encoding="utf-8").splitlines() if BUILTIN else []


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_damaged_rule_is_read_or_refused(randomness, changes):
    lines = list(LINES)
    for _ in range(changes):
        damage(lines, randomness)
    load_or_refuse("\n".join(lines))


def damage(lines: list[str], randomness: random.Random) -> None:
    at = randomness.randrange(len(lines))
    line = lines[at]
    cut = randomness.randrange(len(line) + 1)
    match randomness.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, line)
        case 2:
            lines[at] = line[:cut]
        case 3:
            lines[at] = line[:cut] + randomness.choice("{}[]:'\"|>&*!%@`,-#?\t\x00é\U0001f600") + line[cut:]
        case 4:
            lines[at] = "  " + line
        case _:
            lines[at] = line.partition(":")[0] + ": " + randomness.choice(["[]", "{}", "1", "true", "~", "x", "{x: [1]}", "- y", "2020-01-01", "1e3"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["conv", "x.y", "{x}", "", "graph", "NA102", "5:info"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["id", "name", "node", "module", "op", "where", "precedes", "without", "any_of", "chain", "code", "title", "bad", "good", "ops", "values", "patterns"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(
    ["severity", "scope", "references", "pattern", "message", "examples", "define", "when", "adjust", "at", "related", "evidence", "fix", "silenced_by", "exempt"]
), VALUES, max_size=4))  # fmt: skip
def test_a_rule_with_any_values_is_read_or_refused(values):
    base = yaml.safe_load("\n".join(LINES))
    load_or_refuse(json.dumps({**base, **values}))
