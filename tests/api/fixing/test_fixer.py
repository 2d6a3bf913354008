"""Fixes of source, from the check to the changed files."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from normadvisor.api.fixing import Choice
from normadvisor.errors import UsageError

NET = """\
import torch
import torch.nn.functional as F
from torch import nn


def conv_bn(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU())


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)  # with bias
        self.bn = nn.BatchNorm2d(width)
        self.act = nn.ReLU()

    def forward(self, x):
        return F.relu(self.act(self.bn(self.conv(x)))) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 4)
        self.block = Block(4)
        self.fc1 = nn.Linear(4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.block(self.stem(x))
        return self.fc2(self.fc1(x.mean((2, 3))))


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.blocks = nn.ModuleList(Block(6) for _ in range(2))
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def evaluate(loader):
    model = Net()
    model.load_state_dict(torch.load("net.pt"))
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(1) == labels).sum().item()
    return correct
"""
SAFELY = (
    NET.replace("cin, cout, 3, padding=1)", "cin, cout, 3, padding=1, bias=False)")
    .replace("width, width, 3, padding=1)", "width, width, 3, padding=1, bias=False)")
    .replace("F.relu(self.act(self.bn(self.conv(x))))", "self.act(self.bn(self.conv(x)))")
)
COMPLETELY = SAFELY.replace("self.fc1(x.mean((2, 3)))", "F.relu(self.fc1(x.mean((2, 3))))").replace(
    "    correct = 0\n", "    correct = 0\n    model.eval()\n"
)


def after(result):
    return {change.path.name: change.after.decode() for change in result.changes}


def told(items):
    return [(item.finding.rule, item.finding.line) for item in items]


def test_one_file_with_two_models_and_a_script(fixing, in_folder):
    fixer = fixing({"net.py": NET})
    safe = fixer.fix_all()
    assert after(safe) == {"net.py": SAFELY}
    assert told(safe.applied) == [("NA102", 7), ("NA102", 13), ("NA105", 18)]
    assert (safe.rolled_back, told(safe.skipped)) == ((), [("NA401", 54), ("NA106", 27)])
    assert {proven.model: str(proven.proof).partition(" equal")[0] for proven in safe.proofs} == {
        "net.py:Net": "outputs, gradients and buffers",
        "net.py:Other": "outputs, gradients and buffers",
    }
    assert [[proven.model for proven in item.proofs] for item in safe.applied] == [["net.py:Net", "net.py:Other"]] * 3
    assert {target: key_map.dropped for target, key_map in safe.key_maps.items()} == {
        "net.py:Net": ("stem.0.bias", "block.conv.bias"),
        "net.py:Other": ("stem.0.bias", "blocks.0.conv.bias", "blocks.1.conv.bias"),
    }
    assert [finding.rule for finding in safe.after.report.active] == ["NA401", "NA106"]
    assert Path("net.py").read_text() == NET

    unsafe = fixer.fix_all(unsafe=True)
    assert after(unsafe) == {"net.py": COMPLETELY}
    assert told(unsafe.applied) == [("NA401", 54), ("NA106", 27)]
    assert unsafe.after.report.active == ()

    assert unsafe.write().written == ((in_folder / "net.py").resolve(),)
    again = fixing({}, "net.py").fix_all(unsafe=True)
    assert (again.applied, again.changes, again.rounds) == ((), (), 0)


PACKAGE = {
    "pkg/__init__.py": "",
    "pkg/layers.py": "from torch import nn\n\n\ndef conv_bn(cin, cout):\n    return nn.Sequential(nn.Conv2d(cin, cout, 3), nn.BatchNorm2d(cout))\n",
    "pkg/one.py": "from torch import nn\n\nfrom .layers import conv_bn\n\n\nclass One(nn.Sequential):\n    def __init__(self):\n"
    "        super().__init__(conv_bn(3, 4), nn.ReLU(), nn.ReLU(), nn.ReLU())\n",
    "pkg/two.py": "from torch import nn\n\nfrom pkg.layers import conv_bn\n\nmodel = nn.Sequential(conv_bn(3, 8))\n",
    "pkg/three.py": "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3))\n",
}


def test_a_package_whose_models_share_a_file(fixing):
    fixer = fixing(PACKAGE, "pkg")
    run = fixer.fix_all()
    assert after(run) == {
        "layers.py": PACKAGE["pkg/layers.py"].replace("3)", "3, bias=False)"),
        "one.py": PACKAGE["pkg/one.py"].replace(", nn.ReLU(), nn.ReLU(), nn.ReLU()", ", nn.ReLU()"),
    }
    assert run.rounds == 2  # the two that stand side by side
    assert sorted(proven.model for proven in run.proofs) == ["pkg/one.py:One", "pkg/two.py:model"]
    assert run.rolled_back == ()


def test_choices_are_tried_without_being_kept(fixing):
    fixer = fixing({"net.py": "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU(), nn.ReLU())\n"})
    bias, first, second = fixer.candidates()
    both = [Choice(item.finding, item.default) for item in (first, second)]
    trial = fixer.try_choices(both)
    assert (told(trial.held), trial.waiting) == ([("NA105", 3)], (both[1],))
    assert fixer.contents == {}
    assert fixer.candidates() == [bias, first, second]
    fixer.keep(trial)
    assert [candidate.finding.rule for candidate in fixer.candidates()] == ["NA102", "NA105"]
    assert list(fixer.contents.values()) == [trial.changes[0].after]
    last = fixer.try_choices([Choice(item.finding, item.default) for item in fixer.candidates()])
    assert after(last) == {"net.py": "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())\n"}
    with pytest.raises(UsageError, match="there is no such fix of NA105"):
        fixer.try_choices([Choice(second.finding, first.others[-1])])


RULE = textwrap.dedent("""
    id: ZZ{number}
    name: {name}
    severity: info
    scope: graph
    summary: s
    why: w
    references: [{{title: t, claim: c}}]
    pattern: {{node: layer, op: {op}{more}}}
    message: m
    fix:
      applicability: {applicability}
      title: {name}
      description: d
      change: [{change}]
    examples:
      bad:
        - code: |
            from torch import nn
            model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
      good:
        - code: |
            from torch import nn
            model = nn.Sequential(nn.Conv2d(3, 4, 3))
""")


def with_rule(folder, **parts):
    """Settings with one rule, whose fix claims to be safe unless said otherwise."""
    parts = {"more": "", "applicability": "safe", **parts}
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    name = parts["name"]
    (rules / f"ZZ{parts['number']}-{name}.yaml").write_text(RULE.format(**parts).lstrip())
    return {"rules": (rules,), "select": (f"ZZ{parts['number']}",)}


def test_what_claims_to_be_safe_and_is_not_is_rolled_back(fixing, in_folder):
    settings = with_rule(in_folder, number=901, name="no-tanh", op="tanh", change="{kind: remove_layer, of: layer}")
    code = "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())\n"
    run = fixing({"net.py": code}, settings=settings).fix_all()
    (back,) = run.rolled_back
    assert (run.changes, run.applied, run.proofs) == ((), (), ())
    assert back.reason.startswith("net.py:model would not be the same function: ")
    assert [finding.rule for finding in run.after.report.active] == ["ZZ901"]


SHARED = """\
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.act = nn.Tanh()

    def forward(self, x):
        return self.act(self.conv(x))


class Wide(nn.Sequential):
    def __init__(self):
        super().__init__(Block(8))
"""
NARROW = """

class Narrow(nn.Sequential):
    def __init__(self):
        super().__init__(Block(4))
"""


@pytest.mark.parametrize("shared", [False, True])
def test_an_unsafe_fix_leaves_models_alone_that_do_not_hold_the_finding(fixing, in_folder, shared):
    wide = ", follows: [{node: conv, op: conv, where: conv.out_channels == 8}]"
    change = "{kind: remove_layer, of: layer}"
    settings = with_rule(in_folder, number=903, name="no-tanh", op="tanh", change=change, applicability="unsafe", more=wide)
    code = SHARED + NARROW if shared else SHARED
    run = fixing({"net.py": code}, settings=settings).fix_all(unsafe=True)
    if shared:
        assert [item.reason.partition(": ")[0] for item in run.rolled_back] == ["net.py:Narrow would not be the same function"]
        assert run.changes == ()
    else:
        fixed = code.replace("        self.act = nn.Tanh()\n", "").replace("self.act(self.conv(x))", "self.conv(x)")
        assert (after(run), run.rolled_back, run.after.report.active) == ({"net.py": fixed}, (), ())


def test_what_leaves_its_finding_is_rolled_back(fixing, in_folder):
    settings = with_rule(in_folder, number=902, name="same", op="relu", change="{kind: set_argument, of: layer, argument: inplace, value: 'False'}")
    run = fixing({"net.py": "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))\n"}, settings=settings).fix_all()
    assert [item.reason for item in run.rolled_back] == ["the finding would remain: m"]
    assert run.changes == ()


def test_a_file_that_changed_meanwhile_is_not_fixed(fixing, in_folder):
    fixer = fixing({"net.py": "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n"})
    fixer.check()
    (in_folder / "net.py").write_text("# new\nfrom torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n")
    run = fixer.fix_all()
    assert [item.reason.partition("net.py")[2] for item in run.rolled_back] == [" was changed while it was being checked (run it again)"]
    assert run.changes == ()


def test_the_parent_never_imports_torch(fixing, in_folder):
    import subprocess
    import sys

    (in_folder / "net.py").write_text("from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n")
    code = "import sys, normadvisor; run = normadvisor.fix('net.py', '2x3x8x8'); print(len(run.applied), 'torch' in sys.modules, 'libcst' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1 False False\n", "")


def test_norms_are_converted_to_what_suits_all_models_of_a_file(fixing):
    wide = NET.replace("Block(4)", "Block(16)").replace("(3, 4)", "(3, 16)").replace("Linear(4, 32)", "Linear(16, 32)")
    wide = wide.replace("Block(6)", "Block(24)").replace("(3, 6)", "(3, 24)").replace("Linear(6, 10)", "Linear(24, 10)")
    wide = wide.replace("width=4", "width=16")
    run = fixing({"net.py": wide}, to="group_norm", layers=("*", "!stem*")).fix_all()
    assert (run.rolled_back, run.skipped) == ((), ())
    assert after(run) == {"net.py": wide.replace("self.bn = nn.BatchNorm2d(width)", "self.bn = nn.GroupNorm(4, width)")}
    assert {target: [key.rpartition(".")[0] for key in key_map.dropped[::3]] for target, key_map in run.key_maps.items()} == {
        "net.py:Net": ["block.bn"],
        "net.py:Other": ["blocks.0.bn", "blocks.1.bn"],
    }


def test_there_are_only_certain_conversions(fixing):
    with pytest.raises(UsageError, match="there is no conversion to 'batch_norm'"):
        fixing({"net.py": NET}, to="batch_norm")


def test_a_model_that_cannot_be_compared_stands_in_the_way_of_its_own_fixes_only(fixing):
    code = (
        "import torch\nfrom torch import nn\n\n\nclass Noisy(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n        self.bn = nn.BatchNorm2d(4)\n\n    def forward(self, x):\n"
        "        return self.bn(self.conv(x)) * torch.empty(1).uniform_(generator=torch.Generator().manual_seed(torch.seed() % 999))\n\n\n"
        "plain = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))\n"
    )
    run = fixing({"net.py": code}).fix_all()
    assert after(run) == {"net.py": code.replace("(3, 5, 3)", "(3, 5, 3, bias=False)")}
    assert [item.reason.partition(": ")[0] for item in run.rolled_back] == ["net.py:Noisy could not be compared"]


def test_a_conversion_stands_whatever_rules_think_of_the_norm(fixing):
    code = "from torch import nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())\n"
    run = fixing({"net.py": code}, to="layer_norm").fix_all()
    assert (after(run), run.rolled_back) == ({"net.py": code.replace("nn.BatchNorm2d(8)", "nn.GroupNorm(1, 8)")}, ())
    assert [finding.rule for finding in run.after.report.active] == ["NA302"]


def test_cells_of_a_notebook_are_mended(fixing):
    def notebook(*cells):
        kinds = [{"cell_type": "code", "metadata": {}, "source": cell.splitlines(keepends=True)} for cell in cells]
        return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Text"}, *kinds], "nbformat": 4}, indent=1)

    model = "%matplotlib inline\nimport torch\nfrom torch import nn\nmodel = nn.Sequential(nn.Linear(4, 4), nn.Dropout())\nmodel.load_state_dict(torch.load('net.pt'))"
    cell = "!ls\ncorrect = 0\nwith torch.no_grad():\n    for x, y in loader:\n        correct += (model(x).argmax(1) == y).sum().item()"
    run = fixing({"a.ipynb": notebook(model, cell)}).fix_all(unsafe=True)
    mended = notebook(model, cell.replace("with", "model.eval()\nwith"))
    assert (after(run), told(run.applied), run.after.report.findings) == ({"a.ipynb": mended}, [("NA401", 5)], ())
