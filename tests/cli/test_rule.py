"""``normadvisor rule``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from normadvisor.cli import rule as command
from normadvisor.errors import NormAdvisorError
from normadvisor.rulebook import load_file, load_rules
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.schema import schema_text
from normadvisor.rulebook.skeleton import new_rule
from normadvisor.rulebook.trial import Verdict, judge
from normadvisor.types import Confidence, Finding, Severity


def run(*arguments):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def refused(*arguments):
    result = run(*arguments)
    assert isinstance(result.exception, NormAdvisorError), result.exception
    return str(result.exception)


def test_list_names_every_rule():
    result = run("list")
    rows = [line.split()[:2] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert result.exit_code == 0
    assert rows == [["rule", "name"], *([rule.id, rule.name] for rule in load_rules())]


def test_list_as_json_with_further_rules(tmp_path):
    path = new_rule("AC001", "momentum-zero", tmp_path)
    entries = json.loads(run("list", "--format", "json", "--rules", tmp_path, "--select", "AC").stdout)
    assert entries == [
        {
            "id": "AC001",
            "name": "momentum-zero",
            "severity": "warning",
            "confidence": "confirmed",
            "scope": "graph",
            "summary": "A batch normalization with a momentum of zero",
            "fix": "unsafe",
            "source": str(path),
        }
    ]


def test_list_is_quick_and_needs_no_torch():
    code = "import sys; from normadvisor.cli.rule import app; app(['list'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_explain_as_markdown_is_the_page():
    assert run("explain", "NA102", "--format", "markdown").stdout == explain_markdown(load_rules().get("NA102"))
    assert run("explain", "bias-before-norm", "--format", "markdown").stdout == explain_markdown(load_rules().get("NA102"))


def test_explain_into_a_pipe_is_the_page_as_it_is():
    assert run("explain", "NA102").stdout == explain_markdown(load_rules().get("NA102"))


def test_explain_on_a_terminal_has_every_section(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    command.explain("NA102")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    sections = ["What it does", "Why", "Numbers and sources", "Exemptions", "Bad", "Good", "Fixed", "Fixes"]
    assert [line for line in lines if line in sections] == sections


def test_tables_in_a_pipe_have_no_spaces_at_the_ends_of_lines():
    lines = run("list").stdout.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_explain_all_writes_the_documentation(tmp_path):
    assert run("explain", "--all", "--write", tmp_path / "rules").exit_code == 0
    assert {path.name for path in (tmp_path / "rules").iterdir()} == {"index.md", "language.md", *(f"{rule.id}.md" for rule in load_rules())}
    assert run("explain", "--all", "--format", "markdown").stdout.count("## Fixes") == len(load_rules())


def test_explain_refuses_what_it_does_not_know():
    assert refused("explain", "NA1022") == "unknown rule 'NA1022' (did you mean 'NA102'?)"
    assert refused("explain").startswith("name one rule to explain, or give --all")
    assert refused("explain", "NA102", "--all").startswith("name one rule to explain, or give --all")
    assert refused("explain", "NA102", "--write", "x") == "--write writes the pages of all rules (add --all)"


def test_new_writes_a_rule_and_never_overwrites(in_folder):
    result = run("new", "AC001", "momentum-zero", "--dir", "mine")
    assert result.stdout == "mine/AC001-momentum-zero.yaml\n"
    assert load_file(in_folder / "mine" / "AC001-momentum-zero.yaml").rule.id == "AC001"
    assert refused("new", "AC001", "other", "--dir", "mine").startswith("there is already a rule AC001: ")
    assert refused("new", "NA102", "other") == "there is a built-in rule NA102 bias-before-norm (choose another id and name)"
    assert sorted(path.name for path in in_folder.rglob("*.yaml")) == ["AC001-momentum-zero.yaml"]


def test_schema_is_printed_or_written(tmp_path):
    assert run("schema").stdout == schema_text()
    assert run("schema", "--output", tmp_path / "s.json").stdout == ""
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == schema_text()
    assert refused("schema", "--output", tmp_path / "no" / "s.json").endswith("cannot be written: No such file or directory")


@pytest.fixture
def three_outcomes(tmp_path, monkeypatch):
    """A rule whose bad example is missed, good one noisy and fixed one broken."""
    path = new_rule("AC001", "momentum-zero", tmp_path)
    finding = Finding(
        rule="AC001", name="momentum-zero", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="layer 1 never updates", line=5
    )
    findings, problems = {"good": [finding]}, {"fixed": ["no layer 9"]}

    def outcomes(jobs):
        return [judge(trial, findings.get(trial.kind, []), problems.get(trial.kind, [])) for trial in jobs]

    monkeypatch.setattr(command, "_run", outcomes)
    return path


def test_test_reports_missing_noisy_and_broken_examples(three_outcomes):
    result = run("test", three_outcomes.parent)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    code = [number for number, line in enumerate(three_outcomes.read_text(encoding="utf-8").splitlines(), 1) if line.startswith("    - code")]
    assert result.exit_code == 1
    assert lines == [
        "rule name bad good fixed missing noisy error",
        "AC001 momentum-zero 1 1 1 1 1 1",
        "",
        f"missing AC001 bad 1 at {three_outcomes}:{code[0]}:7: no finding",
        f"noisy AC001 good 1 at {three_outcomes}:{code[1]}:7: layer 1 never updates",
        f"error AC001 fixed 1 at {three_outcomes}:{code[2]}:7: no layer 9",
        "",
        "0 of 3 examples of 1 rules as they should be",
    ]


def test_test_as_json(three_outcomes):
    result = run("test", three_outcomes, "--format", "json")
    data = json.loads(result.stdout)
    assert result.exit_code == 1
    assert data["rules"] == [
        {"id": "AC001", "name": "momentum-zero", "bad": 1, "good": 1, "fixed": 1, "missing": 1, "noisy": 1, "error": 1}
    ]
    assert [(item["kind"], item["verdict"], item["found"]) for item in data["examples"]] == [
        ("bad", "missing", []), ("good", "noisy", ["5:warning"]), ("fixed", "error", []),
    ]  # fmt: skip


def test_a_passing_rule_exits_with_zero(tmp_path):
    new_rule("AC001", "momentum-zero", tmp_path)
    result = run("test", tmp_path)
    assert (result.exit_code, result.exception) == (0, None), result.stdout
    assert result.stdout.splitlines()[-1] == "3 of 3 examples of 1 rules as they should be"


def test_a_rule_that_is_wrong_fails_in_every_way(tmp_path):
    path = new_rule("AC001", "momentum-zero", tmp_path)
    text = path.read_text(encoding="utf-8")
    text = text.replace("bn.momentum == 0 and bn.track_running_stats", "not bn.track_running_stats")
    text = text.replace("nn.BatchNorm2d(8))", "nn.BatchNorm3d(8, no_such=1))")
    path.write_text(text, encoding="utf-8")
    result = run("test", tmp_path, "--format", "json")
    assert [item["verdict"] for item in json.loads(result.stdout)["examples"]] == [Verdict.MISSING, Verdict.NOISY, Verdict.ERROR]
    assert result.exit_code == 1


def test_unknown_places_and_rules_are_named(tmp_path):
    assert refused("test", tmp_path / "nowhere") == f"no folder or file '{tmp_path}/nowhere' with rules"
    assert refused("test", "--select", "NA1022").startswith("'select' names no rule: 'NA1022'")
    (tmp_path / "bad.yaml").write_text("id: 1\n")
    assert f"{tmp_path}/bad.yaml:1:5: 'id' must be a string" in refused("list", "--rules", tmp_path)


def test_help_lists_the_commands():
    assert [line.split()[0] for line in run("--help").stdout.split("Commands:")[1].splitlines() if line.strip()] == [
        "list", "explain", "new", "schema", "test",
    ]  # fmt: skip
    assert Path(command.__file__).name == "rule.py"
