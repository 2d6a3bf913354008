"""Whatever a report holds, every format stays well-formed and loses nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_strategies import findings, reports, text

from normadvisor.report import RenderOptions, format_names, render
from normadvisor.report.clean import one_line
from normadvisor.report.formats.markdown_format import _QUOTED, _prose, code_span, plain_text
from normadvisor.types import Report, Severity

OPTIONS = RenderOptions(root=Path("/project"), statistics=True, debug=True)
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@given(report=reports(), name=st.sampled_from(format_names()), encoding=st.sampled_from(["utf-8", "ascii", "cp1252", "no-such-codec"]))
@settings(max_examples=400)
def test_renders_to_what_the_stream_can_hold(report, name, encoding):
    out = render(report, name, options=replace(OPTIONS, encoding=encoding))
    out.encode("ascii" if encoding == "no-such-codec" else encoding)
    assert out.endswith("\n")


@given(report=reports(), width=st.integers(1, 200), color=st.booleans())
@settings(max_examples=200)
def test_text_never_lets_control_characters_through(report, width, color):
    out = render(report, "text", options=replace(OPTIONS, width=width, color=color))
    out = re.sub(r"\x1b\[[0-9;]*m", "", out) if color else out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)


@given(reports())
@settings(max_examples=200)
def test_json_holds_everything(report):
    data = json.loads(render(report, "json", options=OPTIONS), parse_constant=pytest.fail)
    key = repr
    assert sorted((item["message"] for item in data["findings"]), key=key) == sorted((item.message for item in report.findings), key=key)
    assert {problem.target for problem in report.problems} <= {model["target"] for model in data["models"]}


@given(reports())
@settings(max_examples=200)
def test_junit_parses_and_counts(report):
    root = ET.fromstring(render(report, "junit", options=OPTIONS).encode())
    cases = list(root.iter("testcase"))
    assert root.attrib["tests"] == str(len(cases))
    assert root.attrib["failures"] == str(sum(case.find("failure") is not None for case in cases))
    assert root.attrib["errors"] == str(sum(case.find("error") is not None for case in cases))
    described = "\n".join(element.text or "" for case in cases for element in case)
    assert described.count("[error, ") >= sum(finding.severity is Severity.ERROR for finding in report.active)


def undone(value: str) -> str:
    """As the runner of GitHub Actions reads a property."""
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        value = value.replace(code, char)
    return value


@given(findings())
@settings(max_examples=300)
def test_github_commands_read_back(finding):
    finding = replace(finding, suppressed=None, modules=(), fix=None, cell=None)
    out = render(Report(findings=(finding,)), "github", options=replace(OPTIONS, statistics=False))
    command, _summary, _end = out.split("\n")
    _, head, message = command.split("::", 2)
    kind, _, properties = head.partition(" ")
    read = dict(item.split("=", 1) for item in properties.split(","))
    escaped = re.compile("[\ud800-\udfff]")
    assert kind == {"error": "error", "warning": "warning", "info": "notice"}[finding.severity]
    assert undone(message) == escaped.sub(lambda match: f"\\u{ord(match.group()):04x}", finding.message)
    assert undone(read["title"]) == escaped.sub(lambda match: f"\\u{ord(match.group()):04x}", f"{finding.rule} {finding.name}")


def shown(markdown: str) -> str:
    """What a reader of rendered Markdown sees, without the tags."""
    (token,) = (token for token in MARKDOWN.parse(markdown) if token.type == "inline")
    assert {child.type for child in token.children} <= {"text", "text_special", "html_inline", "code_inline"}
    assert all(child.content == "<!-- -->" for child in token.children if child.type == "html_inline")
    return "".join(child.content for child in token.children if child.type != "html_inline")


@given(text)
@settings(max_examples=500)
def test_markdown_text_is_shown_as_it_is(words):
    if one_line(words):
        assert shown(plain_text(words)) == one_line(words)
        assert shown(f"Then {plain_text(words)}") == f"Then {one_line(words)}"


@given(text)
@settings(max_examples=500)
def test_markdown_prose_is_shown_without_the_quotes_of_names(words):
    line = one_line(words)
    if line:
        assert shown(_prose(words)) == _QUOTED.sub(lambda match: match[1].replace("|", "\u2223"), line)


def test_markdown_prose():
    assert _prose("The bias of `stem.conv_1` is lost, `a` too; 2 * 3") == "The bias of `stem.conv_1` is lost, `a` too; 2 \\* 3"


@given(text)
@settings(max_examples=300)
def test_markdown_code_is_shown_as_it_is(words):
    if one_line(words):
        assert shown(code_span(words)) == one_line(words).replace("|", "\u2223")


@given(st.lists(findings(), min_size=1, max_size=4))
@settings(max_examples=200)
def test_markdown_has_one_row_and_one_fold_per_finding(found):
    active = tuple(replace(finding, suppressed=None) for finding in found)
    out = render(Report(findings=active), "markdown", options=replace(OPTIONS, statistics=False))
    tokens = MARKDOWN.parse(out)
    assert sum(token.type == "tr_open" for token in tokens) == 1 + len(active)
    assert sum(token.type == "td_open" for token in tokens) == 4 * len(active)
    blocks = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert sum(block.startswith("<details><summary>") for block in blocks) == len(active)
    assert sum(block == "</details>" for block in blocks) == len(active)
