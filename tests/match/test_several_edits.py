"""One mistake at several places is one finding with an edit at each."""

from __future__ import annotations

import textwrap

from normadvisor.match import match_script
from normadvisor.rulebook import load_rules
from normadvisor.script import analyze
from normadvisor.script.edits import applied
from normadvisor.script.project.modules import Project
from normadvisor.types import RunContext

BEFORE = """\
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(16, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = F.dropout(x, 0.2)
        x = torch.relu(self.hidden(x))
        x = F.dropout(F.dropout(x, p=0.5), 0.1)
        return self.head(x)


def main(model, loader, val_loader, optimizer):
    for x, y in loader:
        loss = F.cross_entropy(model(x).softmax(1), y)
        loss.backward()
        optimizer.step()
    for x, y in val_loader:
        print(F.cross_entropy(model(x).softmax(1), y))
"""
AFTER = (
    BEFORE.replace("x, 0.2)", "x, 0.2, training=self.training)")
    .replace("x, p=0.5), 0.1)", "x, p=0.5, training=self.training), 0.1, training=self.training)")
    .replace("model(x).softmax(1)", "model(x)")
)


def test_every_place_is_mended(tmp_path):
    path = tmp_path / "main.py"
    path.write_text(textwrap.dedent(BEFORE))
    project = Project([tmp_path])
    found = match_script(analyze(path, project), list(load_rules()), RunContext(), root=tmp_path, modules=project)
    assert [(finding.rule, finding.line, [related.line for related in finding.related if related.message.startswith("here as well")]) for finding in found] == [
        ("NA509", 13, [15]), ("NA501", 21, [25]),
    ]  # fmt: skip
    assert applied(BEFORE, [edit for finding in found for edit in finding.fix.edits]) == AFTER
