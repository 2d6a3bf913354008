"""What is written out is looked for when a rule asks for it, and noted on the nodes that end it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from normadvisor.api.examine import matched
from normadvisor.graph import trace
from normadvisor.graph.written import noted
from normadvisor.rulebook import load_rules
from normadvisor.rulebook.catalogue import select_rules
from normadvisor.targets.inputs.spec import Inputs
from normadvisor.types import RunContext


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        x = self.conv(x)
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)
        return x * torch.sigmoid(x)


def traced(model):
    return trace(model, Inputs((torch.randn(2, 3, 4, 5),), kwargs={}, given=True), target="net", sites={})


@pytest.mark.parametrize(("select", "times"), [([], 0), (["NA701", "NA702", "NA703", "NA706"], 0), (["NA704"], 1), (["NA7"], 1)])
def test_the_search_runs_for_rules_that_ask_alone(select, times, monkeypatch):
    searched = []
    monkeypatch.setattr(noted, "search", lambda around: searched.append(around) or [])
    model = Net()
    matched(traced(model), model, select_rules(load_rules(), select=select), RunContext(), Path("/nowhere"))
    assert len(searched) == times


def test_what_rules_read():
    model = Net()
    graph = traced(model)
    matched(graph, model, select_rules(load_rules(), select=["NA704"]), RunContext(), Path("/nowhere"))
    names = ("computes", "operations", "function", "eps", "permuted", "obstacle")
    found = [{name: node.attrs[name] for name in names if name in node.attrs} for node in graph.nodes if "computes" in node.attrs]
    assert found == [
        {"computes": "rms_norm", "operations": 5, "function": "torch.nn.functional.rms_norm", "eps": 1e-6, "permuted": True},
        {"computes": "silu", "operations": 2, "function": "torch.nn.functional.silu"},
    ]
