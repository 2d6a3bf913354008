"""The page as text: complete, escaped, self-contained, small enough."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from probe_samples import (
    HOSTILE,
    finding,
    hostile_report,
    no_layers,
    not_finite_report,
    resnet,
    small,
    transformer,
    unmeasured,
    vanishing,
    vanishing_report,
)
from report_strategies import measurements, probed_reports

from normadvisor.report.html import html_audit, html_probe
from normadvisor.types import Confidence, Finding, Measurements, ModelSummary, Problem, Report, Severity, TraceKind

ROOT = Path("/project")
VOID = {"meta", "wbr", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Elements, their texts, and whether every element is closed in its turn."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def all(self, tag, cls=None):
        return [attrs for name, attrs in self.elements if name == tag and (cls is None or cls in (attrs.get("class") or "").split())]

    def words(self, *tags):
        return [words for tag, words in self.texts if tag in tags]


def page(report: Report, **more) -> Page:
    return Page(html_probe(report, root=ROOT, **more))


REPORTS = {
    "vanishing": vanishing_report,
    "not finite": not_finite_report,
    "healthy": lambda: Report(measurements=(resnet(),)),
    "small": lambda: Report(measurements=(small(),)),
    "several": lambda: Report(measurements=(no_layers(), unmeasured(), small())),
    "hostile": hostile_report,
    "nothing": Report,
}


@pytest.mark.parametrize("name", REPORTS)
def test_every_id_is_unique_and_every_link_within_the_page_leads_somewhere(name):
    found = page(REPORTS[name]())
    ids = [attrs["id"] for _tag, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"] for tag, attrs in found.elements if tag in {"a", "use"} and attrs["href"].startswith("#")}
    assert {link[1:] for link in links} <= set(ids)


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_loaded_and_the_policy_admits_our_own_style_and_script_alone(name):
    source = html_probe(REPORTS[name](), root=ROOT)
    found = Page(source)
    loading = [(tag, key) for tag, attrs in found.elements for key in attrs if key in {"src", "srcset", "data", "action", "style"} or key.startswith("on")]
    assert loading == []
    assert {tag for tag, _attrs in found.elements} & {"link", "img", "iframe", "object", "embed", "form", "base"} == set()
    hashes = {
        kind: base64.b64encode(hashlib.sha256(re.search(rf"<{kind}>(.*?)</{kind}>", source, re.DOTALL)[1].encode()).digest()).decode()
        for kind in ("style", "script")
    }
    (policy,) = [attrs["content"] for attrs in found.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )


def test_hostile_names_are_words_and_nothing_else():
    hostile, tame = page(hostile_report()), page(REPORTS["healthy"]())
    assert {tag for tag, _attrs in hostile.elements} <= {tag for tag, _attrs in tame.elements} | {"article", "div", "i", "strong", "a"}
    assert len(hostile.all("script")) == len(tame.all("script")) == 2
    source = html_probe(hostile_report(), root=ROOT)
    assert "\u202e" not in source
    assert "\x1b" not in source
    assert "49" not in [words for words in hostile.words("bdi", "p") if "7" in words and "*" not in words]
    assert "<script>alert(1)</script>" in hostile.words("bdi")
    assert "a" * 500 in hostile.words("bdi")  # in notes and messages, whole
    assert "a" * 30 + "\u2026" + "a" * 59 in hostile.words("bdi")  # in the tree and the table
    source.encode()


def test_data_for_the_pointer_is_text_of_the_table():
    source = html_probe(vanishing_report(), root=ROOT)
    data = json.loads(re.search(r'<script type="application/json" id="model-1-data">(.*?)</script>', source, re.DOTALL)[1])
    assert data["titles"] == ["Gradient norm", "Gradient RMS", "Weight norm", "Update ratio", "Output mean", "Output std", "Saturated"]
    assert data["layers"][0] == ["body.0", "Linear", "NA601", "2.7e-9", "2.8e-11", "3.23", "3.8e-11", "0.0606", "0.999", ""]
    assert data["layers"][11] == ["body.11", "Tanh", "NA604", "", "", "", "", "0.059", "0.0513", "65\u00a0%"]
    assert len(data["layers"]) == 41


def test_the_pointer_tells_the_gradient_of_weights_that_the_chart_shows():
    layers = tuple(replace(layer, series={"grad_norm": (5.0,), "weight_grad_norm": (0.25,)}) for layer in small().layers)
    source = html_probe(Report(measurements=(replace(small(), layers=layers),)), root=ROOT)
    data = json.loads(re.search(r'<script type="application/json" id="model-1-data">(.*?)</script>', source, re.DOTALL)[1])
    assert (data["titles"], data["layers"][0]) == (["Gradient norm, weights", "Gradient norm"], ["0", "Linear", "", "0.25", "5"])


def test_findings_link_to_their_lines(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "deep_tanh.py").write_text("".join(f"line {number}\n" for number in range(1, 30)))
    source = html_probe(vanishing_report(), root=tmp_path)
    found = Page(source)
    place = (tmp_path / "models" / "deep_tanh.py").as_uri()
    assert [attrs["href"] for attrs in found.all("a", "place")] == [f"{place}#L12", f"{place}#L21", f"{place}#L13", f"{place}#L13", f"{place}#L12"]
    assert "models/deep_tanh.py:12:9" in found.words("bdi")
    assert re.search(r'<span class="row marked"><span class="number">12</span>line 12', source)


def test_a_file_that_cannot_be_read_has_no_code_but_a_place():
    found = page(vanishing_report())
    assert found.all("pre") == []
    assert "models/deep_tanh.py:12:9" in found.words("bdi")


def test_the_marked_span_of_code(tmp_path):
    (tmp_path / "a.py").write_text("x = '\u6a21\u578b' + f(<b>)\n")
    one = Finding(rule="NA601", name="x", severity=Severity.ERROR, confidence=Confidence.CONFIRMED, message="m", path="a.py", line=1, column=12, end_line=1, end_column=18)
    source = html_probe(Report(findings=(one,)), root=tmp_path)
    assert "x = &#39;\u6a21\u578b&#39; + <mark>f(&lt;b&gt;)</mark>\n" in source


def test_layers_are_shaded_where_findings_speak_of_them():
    source = html_probe(vanishing_report(), root=ROOT)
    assert '<path class="zone error" d="M0 0H23V100H0Z"/>' in source
    assert source.count('<path class="zone error"') == 5  # each of the four charts by depth, and the legend
    assert '<text class="zone-label wide error" x="0.3%" y="12">NA601</text>' in source
    assert 'class="zone' not in html_probe(Report(measurements=(resnet(),)), root=ROOT)


def test_numbers_that_an_axis_cannot_hold():
    found = page(not_finite_report())
    assert found.all("path", "broken") != []
    zero = replace(small(), layers=tuple(replace(layer, series={"grad_norm": (0.0, 0.0)}) for layer in small().layers))
    assert 'd="M0.5 100h0M1.5 100h0M2.5 100h0"' in html_probe(Report(measurements=(zero,)), root=ROOT)


def test_a_thousand_layers_stay_below_three_megabytes():
    report = Report(measurements=(transformer(100),))
    assert len(report.measurements[0].layers) == 1004
    assert len(html_probe(report, root=ROOT, compare=transformer(100, seed=9)).encode()) < 1.5e6
    named = replace(report.measurements[0], layers=tuple(replace(layer, name="module." * 8 + layer.name) for layer in report.measurements[0].layers))
    assert len(html_probe(Report(measurements=(named,)), root=ROOT).encode()) < 2e6


def test_tables_leave_out_what_is_least_telling():
    found = page(Report(measurements=(transformer(100),)))
    assert "604 more layers, less telling than these, are in the JSON report." in found.words("p")
    assert "375 more layers" in found.words("summary")


def test_the_title_of_the_table_does_not_call_healthy_layers_bad():
    assert "Layers, worst first" in page(vanishing_report()).words("h3")
    assert "Layers, most unusual first" in page(Report(measurements=(resnet(),))).words("h3")


def test_what_was_not_measured_says_why():
    found = page(vanishing_report())
    assert "no BatchNorm layer" in found.words("bdi")
    assert "Not measured" in found.words("h3")


def test_models_one_after_the_other():
    found = page(REPORTS["several"]())
    assert "3 models" in found.words("h1")
    assert [attrs["id"] for attrs in found.all("section", "model")] == ["model-1", "model-2", "model-3"]
    assert "No layers were measured." in found.words("p")


def test_comparison():
    found = page(Report(measurements=(resnet(seed=7, lr_factor=30.0),)), compare=[vanishing(), resnet()])
    assert "Compared with the other run" in found.words("h3")
    assert "0.00244" in found.words("td")
    assert "\u00d770.9" in found.words("td")
    assert "16 more layers with smaller differences. 11 layers within 5 % of the other run." in found.words("p")
    assert "Compared with the other run" not in page(Report(measurements=(resnet(),)), compare=[vanishing(), transformer(2)]).words("h3")


def test_audit():
    problems = (Problem(target="net.py:Broken", message="Broken needs 1 argument: width", hint="name a call: net.py:Broken(width=64)"),)
    models = (ModelSummary(target="net.py:Other", trace=TraceKind.SYMBOLIC), ModelSummary(target=vanishing().target, trace=TraceKind.SYMBOLIC))
    no = Page(html_audit(replace(vanishing_report(), problems=problems, models=models), go=False, reasons=["1 error", "<b>"], root=ROOT))
    assert "No go" in no.words("p")
    assert [words for words in no.words("bdi") if words in {"1 error", "<b>"}] == ["1 error", "<b>"]
    assert {"net.py:Broken", "net.py:Other"} <= set(no.words("bdi"))
    assert no.words("title")[0] == "No go: audit of models/deep_tanh.py:DeepTanh"
    go = Page(html_audit(Report(measurements=(resnet(),)), go=True, reasons=[], root=ROOT))
    assert "Go" in go.words("p")
    assert go.words("title")[0] == "Go: audit of models/resnet.py:Net"
    assert [len(item.all("div", cls)) for item in (no, go) for cls in ("stop", "go")] == [1, 0, 0, 1]


def test_a_run_without_any_measurements():
    problems = (Problem(target="net.py:Broken", message="Broken needs 1 argument: width"),)
    found = page(Report(problems=problems, probed=True))
    assert found.words("h1") == ["No model was measured"]
    assert "1 could not be checked" in found.words("span")
    audit = Page(html_audit(Report(problems=problems, probed=True), go=None, reasons=["net.py:Broken could not be checked"], root=ROOT))
    assert (audit.words("h1"), audit.words("title")) == (["No model"], ["Not judged: audit"])
    assert "Not judged" in audit.words("p")
    assert len(audit.all("div", "open")) == 1


def test_a_name_nested_beyond_reason():
    deep = replace(small(), layers=tuple(replace(layer, name="a." * 2000 + layer.name) for layer in small().layers))
    page(Report(measurements=(deep,)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, 5e-324, 1.7e308, -1.0, None])
def test_any_number_anywhere(value):
    layers = tuple(
        replace(layer, series=dict.fromkeys(layer.series, (value,) * 3), facts=dict.fromkeys(layer.facts, value)) for layer in resnet().layers
    )
    run = replace(resnet(), layers=layers, series={"loss": (value, 1.0)}, curves={"overfit": (value, 2.0, value)}, facts={"expected_initial_loss": value, "overfit_floor": value, "noise_scale": value})
    page(Report(measurements=(run,)), compare=resnet())


@given(report=probed_reports(), other=measurements())
@settings(max_examples=150)
def test_anything_becomes_a_page(report, other):
    for source in (html_probe(report, root=ROOT, compare=other), html_audit(report, go=False, reasons=["a"], root=ROOT)):
        source.encode()
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", source)
        found = Page(source)
        assert len(found.all("script")) == 1 + len(report.measurements)
        assert not [attrs for _tag, attrs in found.elements if any(key.startswith("on") for key in attrs)]


def test_every_finding_stands_once_whatever_it_belongs_to():
    others = (finding("NA401", "x", Severity.INFO, "said of a script", Measurements(target="x"), ()), *vanishing_report().findings)
    report = replace(vanishing_report(), findings=others, measurements=(vanishing(), resnet()))
    assert [attrs["id"] for attrs in page(report).all("article") if attrs["id"].startswith("finding")] == [f"finding-{number}" for number in (1, 2, 3, 4)]


def test_hostile_samples_are_what_they_should_be():
    assert max(map(len, HOSTILE)) == 500
