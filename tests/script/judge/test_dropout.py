"""Dropout that stays on: what comments, names and branches say about it."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project

BODY = """\
import torch
from torch import nn
from torch.nn import functional as F


class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 8)

    def forward(self, x, apply_dropout=True):
        x = self.hidden(x)
"""


@pytest.fixture
def dropped(tmp_path):
    def analysed(source, name="Net"):
        """``line training guarded deliberate`` of dropout calls, lines counted from the first of the source."""
        path = tmp_path / "main.py"
        path.write_text(BODY.format(name=name) + textwrap.indent(source, " " * 8) + "\n        return x\n")
        model = analyze(path, Project([tmp_path]))
        assert not model.problems
        return [
            f"{event.location.line - 12} {event.attributes['training']} {event.attributes['guarded']} {event.attributes['deliberate'] or '-'}"
            for event in model.events
            if event.kind == "dropout_call"
        ]

    return analysed


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = F.dropout(x, 0.5)", ["1 missing False -"]),
        ("x = F.dropout(x, 0.5, training=self.training)", ["1 mode False -"]),
        ("x = F.dropout(x, 0.5, training=True)", ["1 true False -"]),
        ("if self.training:\n    x = F.dropout(x, 0.5)", ["2 missing True -"]),
        ("x = nn.Dropout(0.5)(x)", ["1 missing False -"]),
        ("x = F.dropout(x, 0.5)  # always on", ["1 missing False documented"]),
        ("# dropout stays on at inference, as in the paper\nx = F.dropout(x, 0.5)", ["2 missing False documented"]),
        ("x = F.dropout(x)  # deliberate: MC dropout", ["1 missing False documented"]),
        ("x = F.dropout(x, 0.5)  # even at test time", ["1 missing False documented"]),
        ("x = F.dropout(x, 0.5)  # not at inference", ["1 missing False -"]),
        ("x = F.dropout(x, 0.5)  # disabled during evaluation", ["1 missing False -"]),
        ("x = F.dropout(x, 0.5)  # regularize", ["1 missing False -"]),
        ("x = x * 2  # always\nx = F.dropout(x, 0.5)", ["2 missing False -"]),
        ("x = F.dropout(x, 0.5)\nx = F.dropout(x, 0.5)", ["1 missing False -", "2 missing False -"]),
    ],
)  # fmt: skip
def test_dropout(dropped, source, expected):
    assert dropped(source) == expected


def test_a_prenet_keeps_its_dropout_on(dropped):
    assert dropped("x = F.dropout(x, 0.5)", "Prenet") == ["1 missing False documented"]
    assert dropped("x = F.dropout(x, 0.5)", "DecoderPreNet") == ["1 missing False documented"]
