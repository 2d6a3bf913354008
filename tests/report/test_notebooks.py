"""Findings in notebooks are located by cell, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from normadvisor.report import RenderOptions, render
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Location, Problem, Related, Report, Severity

SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "train.ipynb"
    cells = ["import torch", ["def test(model):\n", "    return model(x)"]]
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}))
    finding = Finding(
        rule="NA401", name="missing-eval", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="model is in train mode here",
        path=str(path), line=2, column=12, end_line=2, end_column=20, cell=2,
        related=(Related(str(path), 1, "torch is imported here", cell=1),),
        fix=Fix(Applicability.UNSAFE, "call eval", (Edit(str(path), 2, 1, 2, 1, "model.eval()\n", cell=2),)),
    )  # fmt: skip
    problem = Problem(target="b.ipynb", message="not valid Python: invalid syntax", location=Location(str(tmp_path / "b.ipynb"), 3, 5, cell=4))
    return Report(findings=(finding,), problems=(problem,), unused_noqa=(Location(str(path), 1, 7, 1, 9, cell=1),))


def rendered(report, name, tmp_path):
    return render(report, name, options=RenderOptions(root=tmp_path))


def test_text_shows_the_cell_and_its_code(report, tmp_path):
    text = rendered(report, "text", tmp_path)
    assert text.startswith("train.ipynb:cell 2:2:12  NA401 missing-eval")
    assert "    1 │ def test(model):\n  > 2 │     return model(x)\n      │            ^^^^^^^^\n" in text
    assert "see       train.ipynb:cell 1:1 torch is imported here" in text
    assert "at        b.ipynb:cell 4:3:5" in text
    assert "train.ipynb:cell 1:1:7  unused noqa: t" in text


def test_lines_for_editors_and_servers(report, tmp_path):
    concise = rendered(report, "concise", tmp_path).splitlines()
    assert concise[:3] == [
        "train.ipynb:cell 2:2:12: NA401 [warning] model is in train mode here",
        "b.ipynb:cell 4:3:5: could not check b.ipynb: not valid Python: invalid syntax",
        "train.ipynb:cell 1:1:7: unused noqa",
    ]
    assert "train.ipynb:cell 2:2:12: NA401 missing-eval" in rendered(report, "junit", tmp_path)
    assert "`train.ipynb:cell 2:2:12`" in rendered(report, "markdown", tmp_path)
    assert rendered(report, "github", tmp_path).splitlines()[:3] == [
        "::error file=b.ipynb,title=could not check b.ipynb::cell 4:3:5: not valid Python: invalid syntax",
        "::warning file=train.ipynb,title=NA401 missing-eval::cell 2:2:12: model is in train mode here%0AMend: call eval",
        "::notice file=train.ipynb,title=unused noqa::cell 1:1:7: This comment suppresses nothing.",
    ]


def test_json_has_the_cell_as_a_key(report, tmp_path):
    data = json.loads(rendered(report, "json", tmp_path))
    (finding,) = data["findings"]
    assert (finding["path"], finding["cell"], finding["line"]) == ("train.ipynb", 2, 2)
    assert finding["related"] == [{"path": "train.ipynb", "line": 1, "message": "torch is imported here", "cell": 1}]
    assert finding["fix"]["edits"][0]["cell"] == 2
    assert data["summary"]["unused_noqa"][0]["cell"] == 1


def test_sarif_names_the_cell_and_no_region(report, tmp_path):
    data = json.loads(rendered(report, "sarif", tmp_path))
    jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(data)
    (result,) = data["runs"][0]["results"]
    assert result["message"]["text"] == "cell 2, line 2: model is in train mode here"
    assert result["locations"] == [
        {
            "logicalLocations": [{"name": "cell 2", "kind": "cell"}],
            "physicalLocation": {"artifactLocation": {"uri": "train.ipynb", "uriBaseId": "SRCROOT"}},
        }
    ]
    assert result["relatedLocations"][0]["message"]["text"] == "cell 1, line 1: torch is imported here"
    assert "fixes" not in result
