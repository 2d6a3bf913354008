"""A new rule is valid as it is written."""

from __future__ import annotations

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import load_file
from normadvisor.rulebook.skeleton import new_rule


def test_a_new_rule_is_valid(tmp_path):
    path = new_rule("AC001", "momentum-zero", tmp_path / "my" / "rules")
    assert path == tmp_path / "my" / "rules" / "AC001-momentum-zero.yaml"
    rule = load_file(path).rule
    assert (rule.id, rule.name, len(rule.examples.bad), len(rule.examples.good), len(rule.examples.fixed)) == ("AC001", "momentum-zero", 1, 1, 1)
    assert path.read_text(encoding="utf-8").startswith("# One rule, one file.")


def test_a_new_script_rule_is_valid(tmp_path):
    rule = load_file(new_rule("AC001", "much-decay", tmp_path, "script")).rule
    assert (rule.scope, rule.pattern.op, len(rule.examples.bad), len(rule.examples.good), len(rule.examples.fixed)) == ("script", ["optimizer"], 1, 1, 1)
    with pytest.raises(RuleError) as caught:
        new_rule("AC002", "other", tmp_path, "scripts")
    assert str(caught.value) == "no rule can be started for the scope 'scripts' (did you mean 'script'?)"


def test_a_new_rule_about_measurements_is_valid(tmp_path):
    rule = load_file(new_rule("AC001", "large-embedding", tmp_path, "probe")).rule
    assert (rule.scope, rule.pattern.layer, rule.pattern.op, len(rule.examples.bad), len(rule.examples.good), len(rule.examples.fixed)) == (
        "probe", "table", ["embedding"], 1, 1, 1,
    )  # fmt: skip


@pytest.mark.parametrize(("place", "written"), [("rule.schema.json", "rule.schema.json"), ("../docs/rule.schema.json", "../docs/rule.schema.json")])
def test_a_schema_nearby_is_pointed_to(tmp_path, place, written):
    folder = tmp_path / "rules"
    folder.mkdir()
    (tmp_path / "docs").mkdir()
    (folder / place).write_text("{}")
    assert new_rule("AC001", "x", folder).read_text(encoding="utf-8").splitlines()[0] == f"# yaml-language-server: $schema={written}"


@pytest.mark.parametrize(
    ("rule_id", "name", "error"),
    [
        ("ac1", "x", "'ac1' is not a rule id (two or more capitals and three digits, such as AC001)"),
        ("AC001\n", "x", None),
        ("AC001", "../x", "'../x' is not a rule name (lower-case words joined by hyphens, such as momentum-zero)"),
        ("AC002", "other", None),
        ("AC002", "taken", None),
    ],
)
def test_nothing_is_overwritten(tmp_path, rule_id, name, error):
    taken = new_rule("AC002", "taken", tmp_path)
    taken.write_text("mine")
    with pytest.raises(RuleError) as caught:
        new_rule(rule_id, name, tmp_path)
    if error:
        assert str(caught.value) == error
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuleError) as caught:
        new_rule("AC001", "x", tmp_path / "file" / "rules")
    assert caught.value.hint == "choose another --dir"
