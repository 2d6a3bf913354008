"""What eval mode and frozen layers mean at the steps of an optimizer."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project

HEAD = """\
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

def freeze(model):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()

def train_epoch(model, optimizer):
    for x, y in loader:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

def validate(model):
    with torch.no_grad():
        for x, y in val_loader:
            print((model(x).argmax(1) == y).sum().item())

"""


@pytest.fixture
def steps(tmp_path):
    def analysed(source):
        """``mode deliberate`` of optimizer steps, and what else is true of them."""
        path = tmp_path / "main.py"
        path.write_text(HEAD + textwrap.dedent(source).lstrip("\n"))
        model = analyze(path, Project([tmp_path]))
        assert not model.problems
        found = {}
        for event in model.events:
            if event.kind == "optimizer_step" and event.attributes["mode"] != "unknown":
                known = event.attributes
                flags = [name for name in ("after_evaluation", "freeze_undone") if known[name]]
                found[" ".join([known["mode"], known["deliberate"] or "-", *flags])] = None
        return sorted(found)

    return analysed


MODEL = "model = torchvision.models.resnet18()\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(MODEL + "train_epoch(model, optimizer)\n", ["train -"], id="fresh"),
        pytest.param(MODEL + "model.eval()\ntrain_epoch(model, optimizer)\n", ["eval -"], id="eval from the start"),
        pytest.param(
            "model = AutoModelForSequenceClassification.from_pretrained('b')\noptimizer = torch.optim.AdamW(model.parameters())\n"
            "for b in loader:\n    model(**b).loss.backward()\n    optimizer.step()\n",
            ["eval -"],
            id="from_pretrained",
        ),
        pytest.param(
            MODEL + "for epoch in range(9):\n    train_epoch(model, optimizer)\n    model.eval()\n    validate(model)\n",
            ["eval - after_evaluation", "train -"],
            id="an evaluation is left on",
        ),
        pytest.param(
            MODEL + "model.eval()\nvalidate(model)\nfor epoch in range(9):\n    train_epoch(model, optimizer)\n",
            ["eval - after_evaluation"],
            id="an evaluation before the training",
        ),
        pytest.param(
            MODEL + "for epoch in range(9):\n    model.train()\n    train_epoch(model, optimizer)\n    model.eval()\n    validate(model)\n",
            ["train -"],
            id="back in train mode",
        ),
        pytest.param(MODEL + "model.train()\nfreeze(model)\ntrain_epoch(model, optimizer)\n", ["eval frozen_batchnorm"], id="frozen"),
        pytest.param(
            MODEL + "freeze(model)\nfor epoch in range(9):\n    model.train()\n    train_epoch(model, optimizer)\n",
            ["train - freeze_undone"],
            id="a freeze that train() undoes",
        ),
        pytest.param(
            MODEL + "for epoch in range(9):\n    model.train()\n    freeze(model)\n    train_epoch(model, optimizer)\n",
            ["eval frozen_batchnorm"],
            id="a freeze that is repeated",
        ),
        pytest.param(
            MODEL + "for p in model.parameters():\n    p.requires_grad = False\nmodel.fc = nn.Linear(512, 3)\nmodel.eval()\ntrain_epoch(model, optimizer)\n",
            ["eval linear_probe"],
            id="a linear probe",
        ),
    ],
)  # fmt: skip
def test_steps(steps, source, expected):
    assert steps(source) == expected
