from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from normadvisor import __version__
from normadvisor.config.settings import FORMATS
from normadvisor.errors import UsageError
from normadvisor.report import RenderOptions, format_names, registry, render
from normadvisor.types import ModelSummary, Problem, Report, Severity, TraceKind

GOLDEN = Path(__file__).parent / "golden"
EXTENSIONS = {"text": "txt", "concise": "txt", "github": "txt", "json": "json", "sarif": "json", "junit": "xml", "markdown": "md"}


def golden(name: str, text: str, root: Path) -> None:
    """Compare with a file; to accept a change, delete the file and run the test twice."""
    text = text.replace(root.as_uri(), "file:///ROOT").replace(f'"{__version__}"', '"VERSION"')
    path = GOLDEN / name
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"wrote {path}: read it, then run again")
    assert path.read_text(encoding="utf-8") == text


def test_formats_offered():
    assert set(format_names()) == set(FORMATS)
    assert format_names() == ("text", "concise", "github", "json", "junit", "markdown", "sarif")
    assert set(format_names()) == set(EXTENSIONS)


@pytest.mark.parametrize("name", sorted(EXTENSIONS))
def test_golden(name, sample):
    golden(f"{name}.{EXTENSIONS[name]}", render(sample.report, name, options=sample.options), sample.root)


@pytest.mark.parametrize("width", [60, 140])
def test_text_at_other_widths(width, sample):
    text = render(sample.report, "text", options=replace(sample.options, width=width))
    golden(f"text-{width}.txt", text, sample.root)
    body = text.splitlines()[:-1]  # the summary is one line whatever the width
    assert max(map(len, body)) <= width


def test_text_in_ascii_with_statistics_time_and_details(sample):
    options = replace(sample.options, width=80, encoding="ascii", statistics=True, elapsed=1.25, debug=True)
    text = render(sample.report, "text", options=options)
    assert text.isascii()
    golden("text-ascii.txt", text, sample.root)


def test_text_in_color(sample):
    plain = render(sample.report, "text", options=sample.options)
    colored = render(sample.report, "text", options=replace(sample.options, color=True))
    assert "\x1b[" not in plain
    assert "\x1b[1;31mNA501\x1b[0m" in colored


TABLE = """\
| Count | Rule | Name |
| ---: | --- | --- |
| 2 | `NA102` | bias-before-norm |
| 1 | `NA105` | consecutive-activations |
| 1 | `NA202` | batchnorm-single-value |
| 1 | `NA501` | softmax-before-cross-entropy |
"""
LINES = "2 NA102 bias-before-norm\n1 NA105 consecutive-activations\n1 NA202 batchnorm-single-value\n1 NA501 softmax-before-cross-entropy\n"


@pytest.mark.parametrize(("name", "added"), [("concise", LINES), ("github", LINES), ("markdown", TABLE)])
def test_statistics(name, added, sample):
    report = replace(sample.report, findings=tuple(replace(finding, suppressed=None) for finding in sample.report.findings))
    without = render(report, name, options=sample.options)
    counted = render(report, name, options=replace(sample.options, statistics=True))
    assert added not in without
    assert counted.replace(added + "\n" if name == "markdown" else added, "", 1) == without


def test_statistics_in_data(sample):
    options = replace(sample.options, statistics=True)
    expected = {"NA102": 1, "NA105": 1, "NA202": 1, "NA501": 1}
    assert json.loads(render(sample.report, "sarif", options=options))["runs"][0]["properties"]["statistics"] == expected
    assert json.loads(render(sample.report, "json", options=options))["summary"]["rules"] == expected
    properties = ET.fromstring(render(sample.report, "junit", options=options).encode()).iter("property")
    assert {item.attrib["name"]: int(item.attrib["value"]) for item in properties} == expected


@pytest.mark.parametrize("name", ["text", "concise", "github"])
def test_clean_run_is_one_line(name):
    models = tuple(ModelSummary(target=f"m.py:M{number}", trace=TraceKind.SYMBOLIC) for number in range(3))
    assert render(Report(models=models), name, options=RenderOptions()) == "No findings in 3 models.\n"
    assert render(Report(models=models[:1]), name, options=RenderOptions(elapsed=0.84)) == "No findings in 1 model (0.8 s).\n"
    assert render(Report(), name, options=RenderOptions()) == "No findings; no models were found.\n"


def test_clean_run_in_color_says_the_same():
    models = (ModelSummary(target="m", trace=TraceKind.SYMBOLIC),)
    assert render(Report(models=models), "text", options=RenderOptions(color=True)) == "\x1b[1;32mNo findings in 1 model.\x1b[0m\n"


def test_suppressed_findings_are_counted_but_not_shown(sample):
    hidden = Report(findings=sample.report.findings[-1:], models=sample.report.models)
    for name in ("text", "concise", "github"):
        assert render(hidden, name, options=sample.options) == "No findings in 2 models; 1 suppressed (baseline).\n"


def test_unknown_format():
    with pytest.raises(UsageError) as caught:
        render(Report(), "jsn", options=RenderOptions())
    assert str(caught.value) == "unknown format 'jsn' (did you mean 'json'?)"


def test_a_format_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "shout_format.py").write_text("def render(report, options):\n    return 'LOUD\\n'\n")
    monkeypatch.setattr(registry.formats, "__path__", [*registry.formats.__path__, str(tmp_path)])
    format_names.cache_clear()
    try:
        assert "shout" in format_names()
        assert render(Report(), "shout", options=RenderOptions()) == "LOUD\n"
    finally:
        monkeypatch.undo()
        format_names.cache_clear()


def test_json_has_the_keys_of_the_contract(sample):
    data = json.loads(render(sample.report, "json", options=sample.options))
    assert list(data) == ["schema", "tool", "models", "findings", "summary"]
    assert list(data["models"][0]) == ["target", "trace", "inputs", "modules", "nodes", "error"]
    assert list(data["findings"][0]) == [
        "rule", "name", "severity", "confidence", "message", "path", "line", "column", "end_line", "end_column", "model", "modules",
        "related", "evidence", "fix", "alternatives", "suppressed", "fingerprint", "cell",
    ]  # fmt: skip
    assert list(data["findings"][0]["fix"]) == ["applicability", "description", "edits", "title", "trade_off", "operations", "refused"]
    assert list(data["findings"][0]["fix"]["edits"][0]) == ["path", "line", "column", "end_line", "end_column", "text", "cell"]
    assert list(data["findings"][0]["related"][0]) == ["path", "line", "message", "cell"]


def test_json_lists_targets_that_could_not_be_checked_among_the_models(sample):
    data = json.loads(render(sample.report, "json", options=sample.options))
    assert data["models"][0] == {
        "target": "models/broken.py:Net", "trace": "none", "inputs": None, "modules": 0, "nodes": 0, "error": "Net needs 1 argument: width",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["json", "sarif"])
def test_order_does_not_depend_on_scheduling(name, sample):
    turned = replace(sample.report, findings=sample.report.findings[::-1], models=sample.report.models[::-1])
    assert render(turned, name, options=sample.options) == render(sample.report, name, options=sample.options)


def test_json_writes_what_json_cannot_hold_as_words(sample):
    odd = replace(sample.report.findings[0], evidence={"ratio": float("inf"), "all": [float("nan"), 1.0]})
    data = json.loads(render(Report(findings=(odd,)), "json", options=sample.options), parse_constant=pytest.fail)
    assert data["findings"][0]["evidence"] == {"ratio": "inf", "all": ["nan", 1.0]}


def test_github_levels(sample):
    lines = render(sample.report, "github", options=sample.options).splitlines()
    assert [line.split(" ")[0] for line in lines[:-1]] == ["::error", "::error", "::warning", "::warning", "::notice", "::notice"]


def test_junit_counts_by_the_threshold(sample):
    strict = ET.fromstring(render(sample.report, "junit", options=replace(sample.options, fail_on=Severity.INFO)).encode())
    assert strict.attrib == {"name": "normadvisor", "tests": "3", "failures": "2", "errors": "1"}
    lax = ET.fromstring(render(sample.report, "junit", options=replace(sample.options, fail_on=Severity.ERROR)).encode())
    assert [failure.attrib["message"] for failure in lax.iter("failure")] == ["1 finding: NA501"]


def test_junit_has_an_error_for_a_model_with_one():
    report = Report(models=(ModelSummary(target="a", trace=TraceKind.NONE, error="boom"),))
    root = ET.fromstring(render(report, "junit", options=RenderOptions()).encode())
    assert [(case.attrib["name"], error.attrib["message"]) for case in root.iter("testcase") for error in case] == [("a", "boom")]


def test_markdown_stays_below_what_github_accepts(sample):
    many = Report(findings=tuple(replace(sample.report.findings[0], line=number, message="m" * 300) for number in range(1, 2000)))
    text = render(many, "markdown", options=sample.options)
    assert len(text) < 65_536
    assert "more that did not fit here" in text


def test_problem_without_a_place(sample):
    report = Report(problems=(Problem(target="nowhere.py", message="there is no such file"),))
    assert render(report, "text", options=sample.options) == (
        "could not check nowhere.py\n  there is no such file\n\nNo findings; 1 target could not be checked.\n"
    )
