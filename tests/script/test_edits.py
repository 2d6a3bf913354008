"""Edits of scripts, applied to the text they were made for."""

from __future__ import annotations

import ast
import json
import textwrap

import pytest

from normadvisor.script.anchors import applied
from normadvisor.script.edits import edits_for
from normadvisor.script.events import Event
from normadvisor.script.project.modules import Project


def _located(module, text, occurrence=0):
    """The place of an expression by its text."""
    found = [node for node in ast.walk(module.tree) if isinstance(node, ast.expr) and module.segment(node) == text]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return module.location(found[occurrence])


def _edited(tmp_path, source, action, at, places=None, **attributes):
    """The text after the edits of an action."""
    path = tmp_path / "script.py"
    path.write_bytes(source.encode())
    module = Project([tmp_path]).load(path)
    event = Event("event", _located(module, at), attributes, {name: (_located(module, text), "") for name, text in (places or {}).items()}, at)
    edits = edits_for(action, event, module)
    return applied(module.text, edits) if edits else None


def _dedented(text):
    return textwrap.dedent(text).lstrip("\n")


CASES = {
    "eval before the block, nothing follows": (
        "insert_eval",
        "model(x)",
        {"model": "model"},
        {},
        """
        model = build()
        with torch.no_grad():
            for x in loader:
                print(model(x).argmax(1))
        """,
        """
        model = build()
        model.eval()
        with torch.no_grad():
            for x in loader:
                print(model(x).argmax(1))
        """,
    ),
    "eval and train where the loop goes on": (
        "insert_eval",
        "self.model(v)",
        {"model": "self.model"},
        {},
        """
        class Trainer:
            def fit(self, loader, test):
                for epoch in range(3):
                    for x in loader:
                        self.loss(x).backward()
                    with torch.no_grad():  # validation
                        for v in test:
                            self.model(v)
                    print(epoch)
        """,
        """
        class Trainer:
            def fit(self, loader, test):
                for epoch in range(3):
                    for x in loader:
                        self.loss(x).backward()
                    self.model.eval()
                    with torch.no_grad():  # validation
                        for v in test:
                            self.model(v)
                    self.model.train()
                    print(epoch)
        """,
    ),
    "the model is built inside the loop": (
        "insert_eval",
        "model(x)",
        {"model": "model"},
        {},
        """
        for fold in range(5):
            model = build(fold)
            with torch.no_grad():
                model(x)
        """,
        """
        for fold in range(5):
            model = build(fold)
            model.eval()
            with torch.no_grad():
                model(x)
        """,
    ),
    "no edit in a block of one line": ("insert_eval", "model(x)", {"model": "model"}, {}, "if fast: model(x)\n", None),
    "no edit for a model without a name": ("insert_eval", "build()(x)", {"model": "build()"}, {}, "y = build()(x)\n", None),
    "no edit for a name of another function": ("insert_eval", "net(x)", {"model": "model"}, {}, "def run(net, x):\n    return net(x)\n", None),
    "no edit where train() would not be reached": (
        "insert_eval",
        "model(x)",
        {"model": "model"},
        {"called_from": "accuracy(model)"},
        """
        def accuracy(model):
            with torch.no_grad():
                return model(x)
        for epoch in range(3):
            loss(model).backward()
            accuracy(model)
        """,
        None,
    ),
    "tabs are kept": (
        "insert_eval",
        "model(x)",
        {"model": "model"},
        {},
        "def run(model, x):\n\twith torch.no_grad():\n\t\treturn model(x)\n",
        "def run(model, x):\n\tmodel.eval()\n\twith torch.no_grad():\n\t\treturn model(x)\n",
    ),
    "train at the start of the epoch": (
        "insert_train",
        "optimizer.step()",
        {"model": "model", "after_evaluation": True},
        {"switch": "model.eval()", "called_from": "evaluate(model)"},
        """
        def evaluate(model):
            model.eval()

        def fit(model, optimizer, loader):
            for epoch in range(3):
                # one pass
                for x in loader:
                    optimizer.step()
                evaluate(model)
        """,
        """
        def evaluate(model):
            model.eval()

        def fit(model, optimizer, loader):
            for epoch in range(3):
                # one pass
                model.train()
                for x in loader:
                    optimizer.step()
                evaluate(model)
        """,
    ),
    "train for every batch where the evaluation is among them": (
        "insert_train",
        "optimizer.step()",
        {"model": "model", "after_evaluation": True},
        {"switch": "model.eval()"},
        """
        for i, x in enumerate(loader):
            optimizer.step()
            if i % 100 == 0:
                model.eval()
        """,
        """
        for i, x in enumerate(loader):
            model.train()
            optimizer.step()
            if i % 100 == 0:
                model.eval()
        """,
    ),
    "train once where nothing switches back": (
        "insert_train",
        "optimizer.step()",
        {"model": "model"},
        {},
        """
        model = load()
        for epoch in range(3):
            for x in loader:
                optimizer.step()
        """,
        """
        model = load()
        model.train()
        for epoch in range(3):
            for x in loader:
                optimizer.step()
        """,
    ),
    "train at the start of a function of one step": (
        "insert_train",
        "optimizer.step()",
        {"model": "model"},
        {},
        """
        def train_step(model, optimizer, x):
            '''One step.'''
            optimizer.zero_grad()
            optimizer.step()
        """,
        """
        def train_step(model, optimizer, x):
            '''One step.'''
            model.train()
            optimizer.zero_grad()
            optimizer.step()
        """,
    ),
    "a switch is taken out": (
        "remove_switch", "model.eval()", {}, {}, "model = build()\nmodel.eval()\nmodel(x)\n", "model = build()\nmodel(x)\n"
    ),
    "a switch that is all there is": ("remove_switch", "model.eval()", {}, {}, "if x:\n    model.eval()\n", "if x:\n    pass\n"),
    "eval before the export": (
        "switch_exported",
        "torch.jit.trace(model, x)",
        {"model": "model"},
        {},
        "model = build()\ntraced = torch.jit.trace(model, x)\n",
        "model = build()\nmodel.eval()\ntraced = torch.jit.trace(model, x)\n",
    ),
    "frozen again after train()": (
        "refreeze",
        "optimizer.step()",
        {},
        {"undone": "model.train()"},
        """
        from torch import nn
        for epoch in range(3):
            model.train()
            optimizer.step()
        """,
        """
        from torch import nn
        for epoch in range(3):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
            optimizer.step()
        """,
    ),
    "drop_last is added": (
        "drop_last",
        "model(x)",
        {},
        {"loader": "DataLoader(data, batch_size=64)"},
        "loader = DataLoader(data, batch_size=64)\nmodel(x)\n",
        "loader = DataLoader(data, batch_size=64, drop_last=True)\nmodel(x)\n",
    ),
    "drop_last on a line of its own": (
        "drop_last",
        "model(x)",
        {},
        {"loader": "DataLoader(\n    data,\n    batch_size=64,  # large\n)"},
        "loader = DataLoader(\n    data,\n    batch_size=64,  # large\n)\nmodel(x)\n",
        "loader = DataLoader(\n    data,\n    batch_size=64,\n    drop_last=True,  # large\n)\nmodel(x)\n",
    ),
    "drop_last=False is turned": (
        "drop_last",
        "model(x)",
        {},
        {"loader": "DataLoader(data, drop_last=False)"},
        "loader = DataLoader(data, drop_last=False)\nmodel(x)\n",
        "loader = DataLoader(data, drop_last=True)\nmodel(x)\n",
    ),
    "no edit where ** may bring the same": (
        "drop_last", "model(x)", {}, {"loader": "DataLoader(data, **options)"}, "loader = DataLoader(data, **options)\nmodel(x)\n", None
    ),
    "converted before the wrap": (
        "convert_sync",
        "DDP(model, device_ids=[rank])",
        {},
        {},
        "import torch\nmodel = DDP(model, device_ids=[rank])\n",
        "import torch\nmodel = DDP(torch.nn.SyncBatchNorm.convert_sync_batchnorm(model), device_ids=[rank])\n",
    ),
    "converted too late": (
        "convert_sync",
        "DDP(model)",
        {"converted_after": True},
        {"switch": "nn.SyncBatchNorm.convert_sync_batchnorm(model)"},
        "from torch import nn\nmodel = DDP(model)\nmodel = nn.SyncBatchNorm.convert_sync_batchnorm(model)\nrun(model)\n",
        "from torch import nn\nmodel = DDP(nn.SyncBatchNorm.convert_sync_batchnorm(model))\nrun(model)\n",
    ),
    "softmax in the loss call": (
        "remove_activation",
        "criterion(F.softmax(model(x), dim=1), y)",
        {"loss": "cross_entropy"},
        {},
        "loss = criterion(F.softmax(model(x), dim=1), y)\n",
        "loss = criterion(model(x), y)\n",
    ),
    "softmax as a method": (
        "remove_activation", "criterion(out.softmax(-1), y)", {"loss": "cross_entropy"}, {}, "criterion(out.softmax(-1), y)\n", "criterion(out, y)\n"
    ),
    "softmax as a new layer": (
        "remove_activation",
        "criterion(nn.Softmax(dim=1)(out + b), y)",
        {"loss": "cross_entropy"},
        {},
        "criterion(nn.Softmax(dim=1)(out + b), y)\n",
        "criterion((out + b), y)\n",
    ),
    "softmax before nll becomes log_softmax": (
        "remove_activation", "F.nll_loss(F.softmax(out, 1), y)", {"loss": "nll"}, {}, "F.nll_loss(F.softmax(out, 1), y)\n", "F.nll_loss(F.log_softmax(out, 1), y)\n",
    ),
    "softmax under another name": (
        "remove_activation",
        "criterion(probabilities, y)",
        {"loss": "cross_entropy"},
        {"activation": "torch.softmax(logits, 1)"},
        "probabilities = torch.softmax(logits, 1)\nloss = criterion(probabilities, y)\nhits = probabilities.argmax(1)\n",
        "probabilities = torch.softmax(logits, 1)\nloss = criterion(logits, y)\nhits = probabilities.argmax(1)\n",
    ),
    "softmax of the model": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "F.softmax(self.fc(x), dim=1)"},
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.softmax(self.fc(x), dim=1)\ncriterion(net(x), y)\n",
        "class Net(nn.Module):\n    def forward(self, x):\n        return self.fc(x)\ncriterion(net(x), y)\n",
    ),
    "softmax layer of the model": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        """
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 4)
                self.softmax = nn.Softmax(dim=1)

            def forward(self, x):
                out = self.fc(x)
                out = self.softmax(out)
                return out
        criterion(net(x), y)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                self.fc = nn.Linear(8, 4)

            def forward(self, x):
                out = self.fc(x)
                return out
        criterion(net(x), y)
        """,
    ),
    "softmax layer around the last": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        """
        class Net(nn.Module):
            def __init__(self):
                self.fc, self.act = nn.Linear(8, 4), F.softmax
                self.prob = nn.Softmax(dim=1)
            def forward(self, x):
                return self.prob(self.fc(x))
        criterion(net(x), y)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                self.fc, self.act = nn.Linear(8, 4), F.softmax
            def forward(self, x):
                return self.fc(x)
        criterion(net(x), y)
        """,
    ),
    "softmax layer that other code calls": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        """
        class Net(nn.Module):
            def __init__(self):
                self.prob = nn.Softmax(dim=1)
            def forward(self, x):
                return self.prob(x)
        criterion(net(x), y)
        print(net.prob(scores))
        """,
        None,
    ),
    "softmax layer at the end of a sequence": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        "net = nn.Sequential(\n    nn.Linear(8, 4),\n    nn.Softmax(dim=1),\n)\ncriterion(net(x), y)\n",
        "net = nn.Sequential(\n    nn.Linear(8, 4),\n)\ncriterion(net(x), y)\n",
    ),
    "softmax layer at the end of a line": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        "net = nn.Sequential(nn.Linear(8, 4), nn.Softmax(dim=1))\ncriterion(net(x), y)\n",
        "net = nn.Sequential(nn.Linear(8, 4))\ncriterion(net(x), y)\n",
    ),
    "softmax layer of a list": (
        "remove_activation",
        "criterion(net(x), y)",
        {"loss": "cross_entropy", "through_model": True},
        {"activation": "nn.Softmax(dim=1)"},
        "net = Net([nn.Linear(8, 4), nn.Softmax(dim=1)])\ncriterion(net(x), y)\n",
        "net = Net([nn.Linear(8, 4), nn.Identity()])\ncriterion(net(x), y)\n",
    ),
    "training is passed": (
        "pass_training",
        "F.dropout(x, 0.5)",
        {"in_module": True},
        {},
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.dropout(x, 0.5)\n",
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.dropout(x, 0.5, training=self.training)\n",
    ),
    "training outside a module": ("pass_training", "F.dropout(x)", {"in_module": False}, {}, "def f(x):\n    return F.dropout(x)\n", None),
    "an unknown action": ("paint", "model(x)", {}, {}, "model(x)\n", None),
}


@pytest.mark.parametrize("case", CASES)
def test_edits(tmp_path, case):
    action, at, attributes, places, source, expected = CASES[case]
    actual = _edited(tmp_path, _dedented(source), action, at, places, **attributes)
    assert (None if expected is None else _dedented(expected)) == actual


def test_columns_count_code_points(tmp_path):
    source = "größe, lader = 'ä', DataLoader(daten, batch_size=2)\nmodel(x)\n"
    expected = "größe, lader = 'ä', DataLoader(daten, batch_size=2, drop_last=True)\nmodel(x)\n"
    assert expected == _edited(tmp_path, source, "drop_last", "model(x)", {"loader": "DataLoader(daten, batch_size=2)"})


CELLS = {
    "a statement put into a cell": ("insert_eval", "model(x)", {}, ["model = build()", "%ls\n\ny = model(x)"], ["model = build()", "%ls\n\nmodel.eval()\ny = model(x)"]),
    "the last line of a cell": ("remove_switch", "model(x)", {"switch": "model.train()"}, ["model = build()\nmodel.train()", "model(x)"], ["model = build()", "model(x)"]),
    "all there is in a cell": ("remove_switch", "model(x)", {"switch": "model.train()"}, ["model = build()", "model.train()", "model(x)"], None),
    "a line that holds a command": ("insert_eval", "model(x)", {}, ["model = build()", "y = !ls\nmodel(x)"], ["model = build()", "y = !ls\nmodel.eval()\nmodel(x)"]),
    "a cell that is indented as a whole": ("insert_eval", "model(x)", {}, ["model = build()", "    1\n    model(x)"], ["model = build()", "    1\n    model.eval()\n    model(x)"]),
    "words over several lines": ("pass_training", "F.dropout(x)", {}, ["class A:\n  def f(self, x):\n    return F.dropout(x)\n"], ["class A:\n  def f(self, x):\n    return F.dropout(x, training=self.training)\n"]),
}


@pytest.mark.parametrize("case", CELLS)
def test_edits_of_notebooks(tmp_path, case):
    action, at, places, cells, expected = CELLS[case]
    path = tmp_path / "a.ipynb"
    found = [{"cell_type": "markdown", "source": "text"}, *({"cell_type": "code", "source": cell} for cell in cells)]
    path.write_text(json.dumps({"cells": found}))
    module = Project([tmp_path]).load(path)
    attributes = {"model": "model", "in_module": True}
    event = Event("event", _located(module, at), attributes, {name: (_located(module, text), "") for name, text in places.items()}, at)
    edits = edits_for(action, event, module)
    mended = [applied(cell, tuple(edit for edit in edits if edit.cell == number)) for number, cell in enumerate(cells, 2)]
    assert (mended if edits else None) == expected
