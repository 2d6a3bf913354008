"""Edits are written for the fixes of findings; what goes wrong in that loses no finding."""

from __future__ import annotations

from pathlib import Path

import normadvisor
from normadvisor.api.edits import EditWriter
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Operation, OperationKind, Part, Severity

OPERATION = Operation(kind=OperationKind.SET_ARGUMENT, part=Part("conv"), argument="bias", value=False)


def finding(fix, *alternatives):
    return Finding(rule="NA102", name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", fix=fix, alternatives=alternatives)


def test_findings_carry_edits(in_folder):
    path = in_folder / "net.py"
    path.write_text("from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n")
    (found,) = normadvisor.check("net.py", inputs="2x3x8x8").active
    assert found.fix.edits == (Edit(str(path.resolve()), 3, 40, 3, 40, ", bias=False"),)


def test_a_mistake_of_ours_is_told_and_loses_nothing(monkeypatch):
    def broken(*_args):
        raise LookupError("no such node")

    monkeypatch.setattr("normadvisor.rewrite.source.writer.write_source", broken)
    words = Fix(Applicability.DISPLAY, "d")
    phases = []
    (done,) = EditWriter().written([finding(Fix(Applicability.SAFE, "d", operations=(OPERATION,)), words)], None, None, Path.cwd(), phases.append)
    assert (done.fix.edits, done.fix.refused, done.alternatives, phases) == (
        (), "writing the edit failed: LookupError: no such node", (words,), ["writing"],
    )  # fmt: skip


def test_nothing_is_written_where_there_is_nothing_to_write():
    plain = [finding(Fix(Applicability.SAFE, "d")), finding(None)]
    phases = []
    assert EditWriter().written(plain, None, None, Path.cwd(), phases.append) == plain
    assert phases == []
