"""Which rules a run uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import RuleBook, builtin_dir, load_rules, load_text, select_rules
from normadvisor.rulebook.files import rule_files
from normadvisor.types import Severity


@pytest.fixture
def small(rule_text) -> RuleBook:
    """Five rules, one of them off by default."""
    rules = {}
    for number, rule_id in enumerate(["NA101", "NA102", "NA201", "NA701", "AC001"]):
        text = rule_text.replace("AC001", rule_id).replace("small-rule", f"rule-{'abcde'[number]}")
        rules[rule_id] = load_text(text + "adjust:\n  - {when: conv.bias, severity: error, confidence: suspected}\n", "").rule
    return RuleBook(rules)


def ids(rules):
    return [rule.id for rule in rules]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["NA101", "NA102", "NA201", "AC001"]),
        ({"select": ["NA1"]}, ["NA101", "NA102"]),
        ({"select": ["na102", "AC"]}, ["NA102", "AC001"]),
        ({"select": ["rule-b"]}, ["NA102"]),
        ({"select": ["ALL"]}, ["NA101", "NA102", "NA201", "NA701", "AC001"]),
        ({"extend_select": ["NA7"]}, ["NA101", "NA102", "NA201", "NA701", "AC001"]),
        ({"ignore": ["NA1"]}, ["NA201", "AC001"]),
        ({"ignore": ["rule-a"]}, ["NA102", "NA201", "AC001"]),
        ({"ignore": ["ALL"]}, []),
        ({"select": ["NA1"], "ignore": ["NA101"]}, ["NA102"]),
        ({"select": ["NA101"], "ignore": ["NA1"]}, ["NA101"]),
        ({"select": ["NA1"], "ignore": ["NA1"]}, []),
        ({"ignore": ["NA1"], "extend_select": ["NA102"]}, ["NA102", "NA201", "AC001"]),
        ({"severity": {"NA1": "off"}}, ["NA201", "AC001"]),
        ({"severity": {"NA1": "off", "NA102": "info"}}, ["NA102", "NA201", "AC001"]),
    ],
)
def test_selection(small, options, expected):
    assert ids(select_rules(small, **options)) == expected


def test_a_severity_of_the_user_is_final(small):
    rules = {rule.id: rule for rule in select_rules(small, severity={"NA1": "info", "rule-b": "error"})}
    assert {rule_id: rule.severity for rule_id, rule in rules.items()} == {
        "NA101": Severity.INFO, "NA102": Severity.ERROR, "NA201": Severity.WARNING, "AC001": Severity.WARNING,
    }  # fmt: skip
    assert (rules["NA101"].adjust[0].severity, rules["NA101"].adjust[0].confidence) == (None, "suspected")
    assert rules["NA201"].adjust[0].severity == "error"
    assert small.rules["NA101"].severity == "warning"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"select": ["NA109"]}, "'select' names no rule: 'NA109' (did you mean 'NA102'?)"),
        ({"ignore": ["rul-a"]}, "'ignore' names no rule: 'rul-a' (did you mean 'rule-a'?)"),
        ({"extend_select": ["zzzzzzz"]}, "'extend-select' names no rule: 'zzzzzzz' ('normadvisor rule list' shows all)"),
        ({"select": [""]}, "'select' names no rule: '' ('normadvisor rule list' shows all)"),
        ({"severity": {"NA9": "info"}}, None),
        ({"severity": {"NA101": "warn"}}, "unknown severity 'warn' for 'NA101' (did you mean 'warning'?)"),
        ({"severity": {"NA101": "fatal"}}, "unknown severity 'fatal' for 'NA101' (one of info, warning, error, off)"),
    ],
)
def test_unknown_spellings(small, options, error):
    with pytest.raises(RuleError) as caught:
        select_rules(small, **options)
    if error:
        assert str(caught.value) == error


def test_lookup(small):
    assert small.get("na102").id == "NA102"
    assert small.get("rule-c").id == "NA201"
    assert (len(small), ids(small)) == (5, ["NA101", "NA102", "NA201", "NA701", "AC001"])
    with pytest.raises(RuleError) as caught:
        small.get("NA1022")
    assert str(caught.value) == "unknown rule 'NA1022' (did you mean 'NA102'?)"


def test_the_same_folder_named_twice_adds_nothing(tmp_path, rule_text):
    (tmp_path / "a.yaml").write_text(rule_text)
    book = load_rules([tmp_path, tmp_path / "a.yaml", builtin_dir()])
    assert len(book) == len(load_rules()) + 1
    assert list(book.rules) == sorted(book.rules)
    assert book.get("AC001").source == str(tmp_path / "a.yaml")


def test_reading_rules_imports_neither_torch_nor_pydantic():
    code = "import sys, normadvisor.rulebook as r; r.load_rules(); print(sorted({'torch', 'pydantic', 'simpleeval'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_rule_takes_few_instructions(instructions, tmp_path, monkeypatch):
    """To read and check, and a tenth of them once it was."""
    monkeypatch.setenv("NORMADVISOR_CACHE_DIR", str(tmp_path))
    texts = [(path, path.read_text()) for path in rule_files(builtin_dir())[::10]]
    for _ in range(2):
        load_rules()
    assert instructions(load_rules) / len(load_rules()) < 50_000
    assert instructions(lambda: [load_text(text, str(path)) for path, text in texts]) / len(texts) < 500_000
