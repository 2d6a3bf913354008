"""Which parameters a constant is given to, in how many layers, and whether that is meant."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project


@pytest.fixture
def initialized(tmp_path):
    def analysed(source):
        """``line target scope deliberate`` of initializations with a constant."""
        path = tmp_path / "main.py"
        path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(source).lstrip("\n"))
        model = analyze(path, Project([tmp_path]))
        assert not model.problems
        found = [event for event in model.events if event.kind == "initialization" and event.attributes["value"] is not None]
        return [
            f"{event.location.line - 2} {event.attributes['target']} {event.attributes['scope']} {event.attributes['deliberate'] or '-'}" for event in found
        ]

    return analysed


def loop(condition, *, otherwise=False):
    """A loop over named parameters that sets those to zero for which a condition holds (or does not)."""
    branches = ("nn.init.normal_(p)", "nn.init.zeros_(p)") if otherwise else ("nn.init.zeros_(p)", "nn.init.normal_(p)")
    lines = ["def init(model):", "    for name, p in model.named_parameters():", f"        if {condition}:", f"            {branches[0]}"]
    return "\n".join([*lines, "        else:", f"            {branches[1]}", ""])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def init(model):\n    for p in model.parameters():\n        nn.init.zeros_(p)\n", ["3 parameters every_layer -"]),
        (loop("'bias' in name"), ["4 bias every_layer -"]),
        (loop("'bias' not in name"), ["4 parameters every_layer -"]),
        (loop("'bias' not in name", otherwise=True), ["6 bias every_layer -"]),
        (loop("'weight' in name"), ["4 weight every_layer -"]),
        (loop("'weight' in name", otherwise=True), ["6 bias every_layer -"]),
        (loop("name.endswith('bias')"), ["4 bias every_layer -"]),
        (loop("p.dim() == 1"), ["4 bias every_layer -"]),
        (loop("p.ndim < 2"), ["4 bias every_layer -"]),
        (loop("len(p.shape) == 1"), ["4 bias every_layer -"]),
        (loop("not len(p.size()) > 1"), ["4 bias every_layer -"]),
        (loop("p.dim() > 1", otherwise=True), ["6 bias every_layer -"]),
        (loop("p.dim() > 1"), ["4 weight every_layer -"]),
        (loop("p.data.dim() >= 2 and p.requires_grad"), ["4 weight every_layer -"]),
        (loop("p.dim() > 1 and p.requires_grad", otherwise=True), ["6 parameters every_layer -"]),
        (loop("p.dim() == 1 or 'norm' in name"), ["4 parameters every_layer norm"]),
        ("def init(model):\n    for p in model.parameters():\n        if p.dim() > 1:\n            continue\n        p.data.zero_()\n", ["5 bias every_layer -"]),
        ("def zero_module(module):\n    for p in module.parameters():\n        p.data.zero_()\n    return module\n", ["3 parameters one_layer residual_branch"]),
        ("def fixup(module):\n    for p in module.parameters():\n        p.data.zero_()\n    return module\n", ["3 parameters one_layer -"]),
        ("def init(net):\n    for p in net.parameters():\n        p.data.fill_(0.01)\n", ["3 parameters every_layer -"]),
        (
            """
            def init(m):
                if isinstance(m, nn.Linear):
                    nn.init.constant_(m.weight, 0)
                    nn.init.normal_(m.bias, 0, 0.01)
            """,
            ["3 weight every_layer random_biases"],
        ),
        (
            """
            def init(m):
                if isinstance(m, nn.Linear):
                    m.weight.data.zero_()
                    m.bias.data.uniform_(-1, 1)
            """,
            ["3 weight every_layer random_biases"],
        ),
        (
            """
            def init(m):
                if isinstance(m, nn.Linear):
                    nn.init.constant_(m.weight, 0)
                    nn.init.zeros_(m.bias)
            """,
            ["3 weight every_layer -", "4 bias every_layer -"],
        ),
        (
            """
            def init(m):
                if isinstance(m, nn.Conv2d):
                    if m.bias is not None:
                        nn.init.zeros_(m.weight)
                elif isinstance(m, nn.BatchNorm2d):
                    nn.init.constant_(m.weight, 1)
            """,
            ["4 weight every_layer -", "6 weight every_layer norm"],
        ),
        (
            """
            def init(m):
                if isinstance(m, nn.Conv2d):
                    nn.init.zeros_(m.weight)
                    nn.init.normal_(m.weight)
            """,
            ["3 weight every_layer overwritten"],
        ),
        (
            """
            class Fixup(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = Block()
                    self.fc = nn.Linear(64, 10)
                    for m in self.modules():
                        if isinstance(m, nn.Linear):
                            nn.init.constant_(m.weight, 0)
            """,
            ["8 weight every_layer head"],
        ),
        (
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.fc = nn.Linear(64, 10)
                    for m in self.modules():
                        if isinstance(m, nn.Linear):
                            nn.init.constant_(m.weight, 0)
            """,
            ["8 weight every_layer -"],
        ),
        (
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
                    # self.apply(self._init_weights)
                def _init_weights(self, m):
                    if isinstance(m, nn.Linear):
                        nn.init.zeros_(m.weight)
            """,
            ["8 weight every_layer unused"],
        ),
        (
            """
            class Net(Base):
                def _init_weights(self, m):
                    if isinstance(m, nn.Linear):
                        nn.init.zeros_(m.weight)
            """,
            ["4 weight every_layer -"],
        ),
    ],
)  # fmt: skip
def test_constants(initialized, source, expected):
    assert initialized(source) == expected
