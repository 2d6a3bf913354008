"""What a worker answers is read with suspicion."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.api import attempt
from normadvisor.api.attempt import read_lines
from normadvisor.api.wire import decode, encode, read_finding, read_problem, read_summary, write_problem
from normadvisor.types import Confidence, Finding, Location, ModelSummary, Problem, Related, Severity, TraceKind

FINDING = Finding(
    rule="NA102", name="bias-before-norm", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="m", path="a.py", line=1,
    modules=("a", "b"), related=(Related("a.py", 2, "here"),), evidence={"x": 1.5, "y": [1, None]},
)  # fmt: skip
SUMMARY = ModelSummary(target="a.py:Net", trace=TraceKind.SYMBOLIC, inputs="2x3", modules=3, nodes=4)
PROBLEM = Problem(target="a.py", message="m", location=Location("a.py", 1, 2), hint="h", details="d\nd")


def test_what_is_written_is_read():
    message = {"kind": "model", "finding": FINDING.to_dict(), "summary": SUMMARY.to_dict(), "problem": write_problem(PROBLEM)}
    line = encode(message)
    assert line.count(b"\n") == 1
    back = decode(line)
    assert (read_finding(back["finding"]), read_summary(back["summary"]), read_problem(back["problem"])) == (FINDING, SUMMARY, PROBLEM)


@pytest.mark.parametrize(
    "change",
    [{"line": "1"}, {"line": -1}, {"line": True}, {"message": 3}, {"path": ["a"]}, {"modules": [1]}, {"severity": "fatal"}, {"extra": 1}, {"evidence": []},
     {"related": [{"path": 1, "line": 1, "message": ""}]}],
)  # fmt: skip
def test_a_finding_of_other_types_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_finding({**FINDING.to_dict(), **change})


@given(st.binary(max_size=100) | st.binary(max_size=30).map(lambda tail: b'{"kind":' + tail))
def test_a_line_is_a_message_or_it_is_not(line):
    message = decode(line)
    assert message is None or isinstance(message, dict)


def test_lines_too_long_are_dropped_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr(attempt, "MAX_LINE", 10)
    reader, writer = os.pipe()
    os.write(writer, b"short\n" + b"x" * 25 + b"\nnext\nunfinished")
    os.close(writer)
    lines = []
    read_lines(reader, lines.append)
    assert lines == [b"short\n", b"next\n", b"unfinished"[:10]][: len(lines)]
    assert lines[:2] == [b"short\n", b"next\n"]
