"""The labelled scripts: that their labels can be read, that they are many, and what the checker makes of them."""

import ast
import json

import pytest

from benchmarks.scripts.accuracy import LEAST_RECALL, measure
from benchmarks.scripts.compare import compare
from benchmarks.scripts.findings import Finding
from benchmarks.scripts.labels import Label, LabelError, corpus, labels_in

RULES = {"NA202", "NA203", "NA204", "NA210", "NA211", "NA401", "NA402", "NA403", "NA404", "NA405", "NA406"}
RULES |= {"NA501", "NA502", "NA505", "NA508", "NA509"}


def expect(line, rule="NA401", severity="", kind="expect", cell=0):
    return Label("a.py", cell, line, rule, kind, severity)


def found(line, rule="NA401", severity="warning", cell=0):
    return Finding("a.py", cell, line, rule, severity, "", "confirmed", ())


def test_labels_of_every_kind(tmp_path):
    text = "x = 1  # expect: NA401 NA210:info\ny = '# expect: NA402'\nz = 2  # allow: NA404:warning\nw = 3  # never\n# unexpected words\n"
    (tmp_path / "a.py").write_text(text)
    assert labels_in(tmp_path / "a.py", tmp_path) == (
        expect(1),
        expect(1, "NA210", "info"),
        expect(3, "NA404", "warning", "allow"),
        expect(4, "", "", "never"),
    )


def test_labels_of_a_notebook_count_lines_in_the_cell(tmp_path):
    source = ["%matplotlib inline\n", "y = model(x)  # expect: NA401"]
    cells = [{"cell_type": "markdown", "source": "# expect: NA402"}, {"cell_type": "code", "source": source}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    assert labels_in(tmp_path / "a.ipynb", tmp_path) == (Label("a.ipynb", 2, 2, "NA401", "expect", ""),)


@pytest.mark.parametrize("comment", ["# expect: NA41", "# expect:", "# allow: NA401:loud", "# expect: missing-eval"])
def test_a_label_that_names_no_rule_is_refused(tmp_path, comment):
    (tmp_path / "a.py").write_text(f"x = 1  {comment}\n")
    with pytest.raises(LabelError):
        labels_in(tmp_path / "a.py", tmp_path)


def test_comparison_sorts_everything_into_its_place():
    labels = [
        expect(1),
        expect(2, "NA210", "info"),
        expect(3),
        expect(4, kind="allow"),
        expect(5, "", kind="never"),
        expect(6, "NA404", "warning", "allow"),
    ]
    findings = [
        found(1),
        found(1),  # said twice
        found(2, "NA210", "info"),
        found(3, severity="info"),  # too quiet
        found(4),  # information alone is allowed
        found(5, severity="info"),
        found(6, "NA404"),
        found(7, "NA508", "info"),
        found(8),
    ]
    outcome = compare(labels, findings)
    assert outcome.met == (expect(1), expect(2, "NA210", "info"))
    assert outcome.missed == (expect(3),)
    assert outcome.false == (found(1), found(4), found(5, severity="info"), found(8))
    assert outcome.remarks == (found(3, severity="info"), found(6, "NA404"), found(7, "NA508", "info"))
    assert (outcome.recall, outcome.precision) == (2 / 3, 2 / 6)


def test_the_same_line_of_another_cell_is_another_place():
    outcome = compare([expect(1, cell=3)], [found(1, cell=2)])
    assert (outcome.met, outcome.missed, outcome.false) == ((), (expect(1, cell=3),), (found(1, cell=2),))


def test_the_corpus_is_large_and_compiles():
    scripts = corpus()
    assert len(scripts) >= 80
    assert sum(script.clean for script in scripts) >= 40
    assert {label.rule for script in scripts for label in script.labels if label.kind == "expect"} == RULES
    for script in scripts:
        for path in script.files:
            if path.suffix == ".py":
                ast.parse(path.read_text(encoding="utf-8"), str(path))

def test_the_checker_finds_what_the_labels_say_and_nothing_else():
    comparison, problems = measure(corpus())
    assert (comparison.false, problems) == ((), ())
    assert comparison.recall >= LEAST_RECALL, [f"{label.rule} {label.place}" for label in comparison.missed]
