from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from report_strategies import reports

from normadvisor.report import RenderOptions, render
from normadvisor.types import Finding, Report, Suppression

# The official schema, as the Python package "schemastore" carries it.
SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def test_the_schema_refuses_what_it_should(sample):
    data = json.loads(render(sample.report, "sarif", options=sample.options))
    VALIDATOR.validate(data)
    data["runs"][0]["results"][0]["level"] = "bad"
    assert not VALIDATOR.is_valid(data)


@given(reports())
def test_any_report_is_valid(report: Report):
    data = json.loads(render(report, "sarif", options=RenderOptions(root=Path("/project"))))
    VALIDATOR.validate(data)
    assert sorted(result["ruleId"] for result in data["runs"][0]["results"]) == sorted(finding.rule for finding in report.findings)
    rules = data["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in data["runs"][0]["results"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/project/a b/\u00fc.py", {"uri": "a%20b/%C3%BC.py", "uriBaseId": "SRCROOT"}),
        ("rel/x.py", {"uri": "rel/x.py", "uriBaseId": "SRCROOT"}),
        ("c:d.py", {"uri": "c%3Ad.py", "uriBaseId": "SRCROOT"}),
        ("/site-packages/m.py", {"uri": "file:///site-packages/m.py"}),
        ("bad\udcff.py", {"uri": "bad%FF.py", "uriBaseId": "SRCROOT"}),
    ],
)
def test_uris(path, expected, sample):
    finding = replace(sample.report.findings[0], path=path, fix=None, related=())
    data = json.loads(render(Report(findings=(finding,)), "sarif", options=RenderOptions(root=Path("/project"))))
    assert data["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == expected


@pytest.mark.parametrize(("way", "kind"), [(Suppression.NOQA, "inSource"), (Suppression.BASELINE, "external"), (Suppression.CONFIG, "external")])
def test_suppressions(way, kind, sample):
    finding: Finding = replace(sample.report.findings[0], suppressed=way)
    data = json.loads(render(Report(findings=(finding,)), "sarif", options=sample.options))
    (suppression,) = data["runs"][0]["results"][0]["suppressions"]
    assert (suppression["kind"], suppression["status"]) == (kind, "accepted")


def test_a_finding_without_a_place_names_its_modules(sample):
    finding = replace(sample.report.findings[0], path=None, line=None, fix=None, related=())
    data = json.loads(render(Report(findings=(finding,)), "sarif", options=sample.options))
    assert data["runs"][0]["results"][0]["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "stem", "kind": "member"}]}]
