"""What a worker answers is read with suspicion."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.api import attempt
from normadvisor.api.attempt import read_lines
from normadvisor.api.wire import (
    decode,
    encode,
    read_finding,
    read_key_map,
    read_measurements,
    read_optimization,
    read_problem,
    read_proof,
    read_summary,
    read_withdrawn,
    write_problem,
    write_withdrawn,
)
from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.proof import Proof
from normadvisor.types import (
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    LayerMeasurements,
    Location,
    Measurements,
    ModelSummary,
    Operation,
    OperationKind,
    Part,
    Problem,
    Related,
    Severity,
    TraceKind,
    Withdrawn,
)
from normadvisor.types.optimization import Errors, Left, Optimization, Ratio, Replacement, Variant

RATIO = Ratio(median=1.5, low=1.4, high=1.6, pairs=9, before=0.3, after=0.2)

FIX = Fix(
    Applicability.SAFE, "d", (Edit("a.py", 1, 2, 1, 3, "t"),), "title", "trade",
    (Operation(kind=OperationKind.SWAP_LAYERS, part=Part("a", "a_1", "relu"), other=Part("b"), arguments={"p": 0.5}),), "",
)  # fmt: skip
PROOF = Proof(equal=True, modes=("train", "eval"), draws=3, worst=1e-14, what="outputs")
KEYS = KeyMap(renamed={"a": "b"}, dropped=("c",), added=("d",), folded=(Fold("c", "a"),), copied={"e": "f"})

FINDING = Finding(
    rule="NA102", name="bias-before-norm", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="m", path="a.py", line=1,
    modules=("a", "b"), related=(Related("a.py", 2, "here"),), evidence={"x": 1.5, "y": [1, None]},
    fix=FIX, alternatives=(FIX,),
)  # fmt: skip
SUMMARY = ModelSummary(target="a.py:Net", trace=TraceKind.SYMBOLIC, inputs="2x3", modules=3, nodes=4)
LAYER = LayerMeasurements(
    name="conv", cls="Conv2d", op="conv", order=1, calls=2, parameters=9, trainable=8, units=3, location=Location("a.py", 1, 2),
    series={"grad_norm": (1.0, None, float("inf")), "act_mean": (1e-300, -0.0, 3.0)}, facts={"dead_share": 0.5, "activation": "relu"},
)  # fmt: skip
MEASURED = Measurements(
    target="a.py:Net", layers=(LAYER, LayerMeasurements(name="", cls="Net")), series={"loss": (2.0, None, float("-inf"))}, curves={"overfit": (2.0,)},
    facts={"initial_loss": 2.0, "nonfinite_layer": None, "real_data": True}, setup={"lr": 0.1, "device": "cpu"}, missing={"overfit": "no time"},
    notes=("said",),
)  # fmt: skip
WITHDRAWN = Withdrawn(finding=FINDING, reason="it moves")
PROBLEM = Problem(target="a.py", message="m", location=Location("a.py", 1, 2), hint="h", details="d\nd")


def test_what_is_written_is_read():
    message = {"kind": "model", "finding": FINDING.to_dict(), "summary": SUMMARY.to_dict(), "problem": write_problem(PROBLEM)}
    line = encode(message)
    assert line.count(b"\n") == 1
    back = decode(line)
    assert (read_finding(back["finding"]), read_summary(back["summary"]), read_problem(back["problem"])) == (FINDING, SUMMARY, PROBLEM)


@pytest.mark.parametrize(
    "change",
    [{"title": 1}, {"refused": None}, {"edits": [{"path": 1, "line": 1, "column": 1, "end_line": 1, "end_column": 1, "text": ""}]},
     {"edits": [{"path": "a", "line": "1", "column": 1, "end_line": 1, "end_column": 1, "text": ""}]}, {"applicability": "maybe"},
     {"operations": [{**FIX.operations[0].to_dict(), "layer": 3}]}, {"operations": [{**FIX.operations[0].to_dict(), "part": {"module": 3}}]},
     {"operations": [{**FIX.operations[0].to_dict(), "arguments": []}]}],
)  # fmt: skip
def test_a_fix_of_other_types_is_refused(change):
    fix = {**FIX.to_dict(), **change}
    for wrong in ({"fix": fix}, {"alternatives": [fix]}):
        with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
            read_finding({**FINDING.to_dict(), **wrong})


def test_measurements_are_read_as_they_were_written():
    back = decode(encode({"kind": "model", "measurements": MEASURED.to_dict(), "withdrawn": write_withdrawn(WITHDRAWN)}))
    assert (read_measurements(back["measurements"]), read_withdrawn(back["withdrawn"])) == (MEASURED, WITHDRAWN)


def _changed(where, change):
    data = MEASURED.to_dict()
    (data if where == "run" else data["layers"][0]).update(change)
    return data


@pytest.mark.parametrize(
    ("where", "change"),
    [
        *(("run", change) for change in (
            {"target": 3}, {"layers": 3}, {"layers": [{}]}, {"series": []}, {"series": {"loss": "abc"}}, {"series": {"loss": ["x"]}}, {"facts": []},
            {"setup": None}, {"notes": [3]}, {"notes": None}, {"missing": {"a": 3}}, {"missing": []}, {"extra": 1},
        )),
        *(("layer", change) for change in (
            {"name": None}, {"cls": 3}, {"op": 3}, {"order": -1}, {"calls": "1"}, {"parameters": 1.5}, {"units": "8"}, {"facts": 3}, {"series": [1]},
            {"location": {"path": 3, "line": 1}}, {"location": {"line": 1}}, {"location": 3}, {"extra": 1},
        )),
    ],
)  # fmt: skip
def test_measurements_of_other_types_are_refused(where, change):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_measurements(_changed(where, change))


@pytest.mark.parametrize("change", [{"reason": 3}, {"finding": {}}, {"finding": None}])
def test_a_withdrawn_finding_of_other_types_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_withdrawn({**write_withdrawn(WITHDRAWN), **change})


def test_proofs_and_key_maps_are_read_as_they_were_written():
    back = decode(encode({"kind": "model", "proof": PROOF.to_dict(), "key_map": KEYS.to_dict()}))
    assert (read_proof(back["proof"]), read_key_map(back["key_map"])) == (PROOF, KEYS)


@pytest.mark.parametrize("change", [{"equal": 1}, {"draws": -1}, {"worst": "0"}, {"reason": None}, {"modes": [1]}, {"provable": "no"}])
def test_a_proof_of_other_types_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_proof({**PROOF.to_dict(), **change})


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


OPTIMIZATION = Optimization(
    target="net.py:Net", mode="inference", device="cpu", dtype="float32", inputs="2x3",
    replacements=(
        Replacement(
            rule="NA701", stage="fold", pattern="a", replacement="b", modules=("conv",), kernel=RATIO, end_to_end=RATIO, memory=1.0,
            error=Errors(before=1.0, after=1.0, between=0.0), verdict="kept",
        ),
    ),
    left=(Left(rule="NA702", modules=("bn",), reason="shared"),),
    variants=(Variant(name="torch.compile", end_to_end=RATIO, cold_start=20.0),),
    end_to_end=RATIO, keys={"bn.weight": "dropped"}, notes=("measured",),
)  # fmt: skip


def test_an_optimization_is_read_back():
    assert read_optimization(decode(encode({"kind": "model", "o": OPTIMIZATION.to_dict()}))["o"]) == OPTIMIZATION


@pytest.mark.parametrize(
    "path",
    [
        ("target",), ("notes", 0), ("keys", "bn.weight"), ("replacements", 0, "rule"), ("replacements", 0, "modules", 0), ("left", 0, "reason"),
        ("variants", 0, "name"), ("end_to_end", "median"), ("replacements", 0, "kernel", "pairs"), ("variants", 0, "end_to_end", "after"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, [], {}, True])
def test_an_optimization_with_other_types_in_it_is_refused(path, value):
    data = OPTIMIZATION.to_dict()
    place = data
    for key in path[:-1]:
        place[key] = list(place[key]) if isinstance(place[key], tuple) else place[key]
        place = place[key]
    place = place if not isinstance(place, tuple) else list(place)
    if path == ("notes", 0):
        data["notes"] = [value]
    elif path[-2:] == ("modules", 0):
        data["replacements"][0]["modules"] = [value]
    else:
        place[path[-1]] = value
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_optimization(data)
