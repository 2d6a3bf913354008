"""Every example shows what the list beside it says, and nothing else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py"))


def expected(example: Path) -> list[str]:
    """``LINE RULE severity`` of each finding, comments left out."""
    lines = example.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    return [" ".join(words) for line in lines if (words := line.split("#")[0].split())]


@pytest.fixture(scope="module")
def reports() -> dict[str, dict]:
    """The JSON report of one run over the whole folder, split by example."""
    command = [sys.executable, "-m", "normadvisor", "check", "examples", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert set(report) >= {"schema", "models", "findings"}
    return {
        example.name: {
            "models": [model for model in report["models"] if Path(model["target"].split(":")[0]).name == example.name],
            "findings": [finding for finding in report["findings"] if finding["path"] == f"examples/{example.name}"],
        }
        for example in EXAMPLES
    }


def test_there_are_examples():
    assert len(EXAMPLES) >= 11
    assert {path.stem for path in EXAMPLES} == {path.stem for path in (ROOT / "examples").glob("*.expected")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_findings_are_those_listed(example, reports):
    found = sorted(reports[example.name]["findings"], key=lambda finding: (finding["line"], finding["rule"]))
    assert [f"{finding['line']} {finding['rule']} {finding['severity']}" for finding in found] == expected(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_model_of_an_example_is_traced(example, reports):
    models = reports[example.name]["models"]
    assert models
    assert [model["error"] for model in models] == [None] * len(models)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_shows(example):
    first = example.read_text(encoding="utf-8").split('"""')[1]
    assert len(first.split()) >= 10


OPTIONAL = {"lightning", "transformers"}
"""What examples of its use import at their top: such an example needs it by its nature."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_imports_what_an_installation_has(example):
    """Tools for developing, such as pytest, are none of it."""
    tree = ast.parse(example.read_text(encoding="utf-8"))
    names = [name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    foreign = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"torch", "normadvisor"}
    assert foreign <= OPTIONAL


def test_one_file_has_the_exit_code_of_its_worst_finding():
    clean, noisy = (
        subprocess.run([sys.executable, "-m", "normadvisor", "check", name, "--format", "concise"], cwd=ROOT / "examples", capture_output=True, text=True, check=False)
        for name in ("conv_bn_relu.py", "dcgan.py")
    )
    assert (clean.returncode, noisy.returncode) == (0, 1), clean.stderr + noisy.stderr
    assert [line.split(": ")[0].rsplit(":", 1)[0] for line in noisy.stdout.splitlines() if "NA102" in line] == ["dcgan.py:15", "dcgan.py:18", "dcgan.py:21"]
