from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normadvisor.suppress import apply_noqa
from normadvisor.suppress.comments import find_comments
from normadvisor.types import Confidence, Finding, Location, Severity, Suppression

KNOWN = ("NA101", "NA102", "NA103", "NA201", "NA301", "MY001")


def finding(rule, line, path="m.py", *, end_line=None, suppressed=None):
    return Finding(
        rule=rule, name="n", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="m", path=path, line=line, column=1,
        end_line=end_line, suppressed=suppressed,
    )  # fmt: skip


def silenced(root: Path, source: str, *found: Finding, ran=KNOWN, files=("m.py",)):
    (root / "m.py").write_text(source, encoding="utf-8")
    result = apply_noqa(found, ran=ran, known=KNOWN, files=files, root=root)
    return [item.suppressed == Suppression.NOQA for item in result.findings], result


@pytest.mark.parametrize(
    ("comment", "rules"),
    [
        ("# noqa: NA102", "NA102"),
        ("# noqa: NA102 \u2014 the bias is folded later", "NA102"),
        ("# noqa: NA102 - GN1 and NA201 are not meant", "NA102"),
        ("# noqa:NA102,NA103", "NA102 NA103"),
        ("# NOQA : na102 , NA201", "NA102 NA201"),
        ("# noqa: NA102 NA103", "NA102 NA103"),
        ("# noqa: E501, NA102,F401", "NA102"),
        ("# noqa: NA1", "NA101 NA102 NA103"),
        ("# noqa: NA", "NA101 NA102 NA103 NA201 NA301"),
        ("# noqa: MY", "MY001"),
        ("# noqa", " ".join(KNOWN)),
        ("#noqa whatever", " ".join(KNOWN)),
        ("# type: ignore[misc]  # noqa: NA103", "NA103"),
        ("# normadvisor: noqa: NA103", "NA103"),
        ("# noqa: E501", ""),
        ("# noqa: because it is so", ""),
        ("# noqa:", ""),
        ("# noqable", ""),
        ("# flake8: noqa", ""),
        ("# ruff: noqa: NA102", ""),
        ("# nonoqa: NA102", ""),
    ],
)
def test_what_a_comment_silences(comment, rules, tmp_path):
    states, _ = silenced(tmp_path, f"x = 1  {comment}\ny = 1\n", *(finding(rule, 1) for rule in KNOWN))
    assert [rule for rule, state in zip(KNOWN, states, strict=True) if state] == rules.split()
    states, _ = silenced(tmp_path, f"x = 1  {comment}\ny = 1\n", *(finding(rule, 2) for rule in KNOWN))
    assert not any(states)


STACK = """\
net = Sequential(
    Conv2d(3, 8, 3),  # noqa: NA102
    BatchNorm2d(8),
    Conv2d(
        8,
        # noqa: NA103
        8,
    ),
    ReLU(),
)
"""


@pytest.mark.parametrize(
    ("rule", "line", "end_line", "expected"),
    [
        ("NA102", 2, 2, True),
        ("NA102", 3, 3, False),  # a comment beside one layer says nothing about the next
        ("NA102", 4, 8, False),
        ("NA103", 4, 8, True),
        ("NA103", 9, 9, False),
        ("NA102", 1, 10, True),  # the finding is about the whole statement
        ("NA102", 9, None, True),  # no span: any line of the statement
    ],
)
def test_lines_of_a_long_statement(rule, line, end_line, expected, tmp_path):
    states, _ = silenced(tmp_path, STACK, finding(rule, line, end_line=end_line))
    assert states == [expected]


@pytest.mark.parametrize("line", [1, 3])
def test_first_and_last_line_speak_for_the_statement(line, tmp_path):
    lines = ["net = Sequential(", "    Conv2d(3, 8, 3),", ")", "other = 1"]
    lines[line - 1] += "  # noqa: NA102"
    states, _ = silenced(tmp_path, "\n".join(lines) + "\n", finding("NA102", 2, end_line=2), finding("NA102", 4, end_line=4))
    assert states == [True, False]


def test_a_class_is_its_header(tmp_path):
    source = "class Net(\n    Module,\n):  # noqa: NA201\n    a = 1  # noqa: NA102\n"
    found = [finding(rule, 1, end_line=4) for rule in ("NA201", "NA102")]
    assert silenced(tmp_path, source, *found)[0] == [True, False]


def test_whole_file(tmp_path):
    source = "# normadvisor: noqa: NA102, NA2\n'''doc'''\nx = 1\n"
    found = [finding("NA102", 3), finding("NA201", 3), finding("NA103", 3), finding("NA102", None)]
    assert silenced(tmp_path, source, *found)[0] == [True, True, False, True]
    assert silenced(tmp_path, "# normadvisor: noqa\nx = 1\n", *found)[0] == [True] * 4


def test_strings_are_no_comments(tmp_path):
    states, result = silenced(tmp_path, 'x = "# noqa: NA102"\ny = """\n# normadvisor: noqa\n"""\n', finding("NA102", 1), finding("NA102", 3))
    assert states == [False, False]
    assert result.unused == ()


def test_unused_codes(tmp_path):
    source = "a = 1  # noqa: NA102, E501, NA103\n\u00fc = '\u00fc'  # noqa: NA201 \u2014 never\nb = 1  # noqa\n"
    _, result = silenced(tmp_path, source, finding("NA102", 1))
    path = str(tmp_path / "m.py")
    assert result.unused == (Location(path, 1, 29, 1, 34), Location(path, 2, 18, 2, 23))
    assert result.notes == ()


def test_only_rules_that_ran_make_a_code_unused(tmp_path):
    source = "a = 1  # noqa: NA102\nb = 1  # noqa: NA1\nc = 1  # noqa: NA201\n"
    _, result = silenced(tmp_path, source, ran=("NA102", "NA103"))
    assert [place.line for place in result.unused] == [1]
    _, result = silenced(tmp_path, source, ran=KNOWN)
    assert [place.line for place in result.unused] == [1, 2, 3]


def test_files_that_were_not_checked_completely_are_not_searched(tmp_path):
    assert silenced(tmp_path, "a = 1  # noqa: NA102\n", files=())[1].unused == ()


def test_a_comment_for_a_finding_suppressed_otherwise_is_used(tmp_path):
    _, result = silenced(tmp_path, "a = 1  # noqa: NA102\n", finding("NA102", 1, suppressed=Suppression.CONFIG))
    assert (result.findings[0].suppressed, result.unused) == (Suppression.CONFIG, ())


def test_absolute_and_relative_paths_are_the_same_file(tmp_path):
    _, result = silenced(tmp_path, "a = 1  # noqa: NA102\n", finding("NA102", 1, str(tmp_path / "m.py")), files=[Path("m.py")])
    assert (result.findings[0].suppressed, result.unused) == (Suppression.NOQA, ())


def test_unknown_codes_of_ours(tmp_path):
    _, result = silenced(tmp_path, "a = 1  # noqa: NA120, NA1O2, E999\n")
    path = tmp_path / "m.py"
    assert result.unused == ()
    assert [note.partition(":1:")[0] for note in result.notes] == [str(path)] * 2
    assert result.notes[1] == f"{path}:1:23: noqa names NA1O2, which is no rule (did you mean NA102?)"


@pytest.mark.parametrize(
    "data",
    [b"x = (  # noqa: NA102\n", b"  x = 1 # noqa\n y = 2\n", b"\xff\xfe# noqa", b"\0# noqa", b"# coding: nonsense\n# noqa", b"'''# noqa"],
)
def test_broken_files_are_left_alone(data, tmp_path):
    (tmp_path / "m.py").write_bytes(data)
    found = (finding("NA102", 3), finding("NA102", 1, "no/such.py"), finding("NA102", 1, "a\0b"), finding("NA102", 1, None))
    assert apply_noqa(found, ran=KNOWN, known=KNOWN, files=["m.py", "gone.py", "a\0b"], root=tmp_path).findings == found


def test_crlf_and_other_encodings(tmp_path):
    (tmp_path / "m.py").write_bytes("# coding: latin-1\r\nx = '\u00e4'  # noqa: NA102\r\ny = 1\r\n".encode("latin-1"))
    result = apply_noqa([finding("NA102", 2), finding("NA102", 3)], ran=KNOWN, known=KNOWN, files=["m.py"], root=tmp_path)
    assert [item.suppressed for item in result.findings] == [Suppression.NOQA, None]


@given(st.text(st.sampled_from("#noqa: NA102,E5\n()[]'\"\\ \tx=\r\x0c\u2028"), max_size=80))
@settings(max_examples=500)
def test_any_text(source):
    comments = find_comments(source)
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for directive in comments.directives:
        for code in directive.codes or ():
            assert lines[code.line - 1][code.column - 1 :].upper().startswith(code.text)


def test_comments_in_cells_of_a_notebook(tmp_path):
    cells = ["import torch", "model(x)\nmodel(y)  # noqa: NA102", "model(\n    x,\n)  # noqa: NA103\nz = 1  # noqa: NA201"]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}))
    found = [
        replace(finding(rule, line, "a.ipynb"), cell=cell)
        for rule, cell, line in [("NA102", 2, 1), ("NA102", 2, 2), ("NA103", 3, 1), ("NA102", 3, 2)]
    ]
    result = apply_noqa(found, ran=KNOWN, known=KNOWN, files=["a.ipynb"], root=tmp_path)
    assert [item.suppressed is not None for item in result.findings] == [False, True, True, False]
    assert result.unused == (Location(str(tmp_path / "a.ipynb"), 4, 16, 4, 21, cell=3),)
