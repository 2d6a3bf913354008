from __future__ import annotations

import pytest
import torch

from normadvisor.graph import trace
from normadvisor.targets.build import build
from normadvisor.targets.comprehensions import function_of
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target

TEXT = """import torch
from torch import nn

def part(n):
    return nn.Linear(n, n)

grid = [[nn.Linear(2, 2) for _ in range(2)] for _ in range(2)]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.grid = nn.ModuleList([nn.ModuleList([part(2) for _ in range(2)]) for _ in range(2)])
        self.named = nn.ModuleDict({name: part(2) for name in ("a", "b")})

    def forward(self, x):
        return sum([sum([torch.relu(part(x)) for part in row]) for row in self.grid])

def make():
    return nn.Sequential(*[layer for row in grid for layer in row])
"""


@pytest.fixture
def built(tmp_path, write):
    write("model.py", TEXT)
    return lambda name: build(load(parse_target(f"model.py:{name}", tmp_path)))


def places(site):
    return [(frame.location.line, frame.location.column, frame.function) for frame in site.frames]


@pytest.mark.parametrize(("name", "column"), [("grid.1.0", 51), ("named.a", 43)])
def test_construction_is_told_without_frames_of_comprehensions(built, name, column):
    line = {51: 12, 43: 13}[column]
    assert places(built("Net").sites[name]) == [(5, 12, "part"), (line, column, "Net.__init__")]


def test_calls_are_told_without_frames_of_comprehensions(built):
    found = built("Net")

    class Given:
        args, kwargs, given = (torch.zeros(3, 2),), {}, True

    graph = trace(found.model, Given(), target="model", sites=found.sites)
    sites = [node.call_site for node in graph.nodes if node.op == "relu"]
    assert [places(site) for site in sites] == [[(16, 26, "Net.forward")]] * 4


def test_functions_that_comprehensions_belong_to():
    space = {}
    exec("def f():\n    return [[i for i in range(2)] for _ in {j for j in range(2)}]\ng = lambda: {i: i for i in range(2)}", space)
    exec("class A:\n    def h(self):\n        return [lambda: [i for i in range(2)] for _ in range(1)]", space)

    def all_of(code):
        return {function_of(code)}.union(*(all_of(part) for part in code.co_consts if hasattr(part, "co_consts")))

    assert all_of(space["f"].__code__) == {"f"}
    assert all_of(space["g"].__code__) == {"<lambda>"}
    assert function_of(space["A"].h.__code__) == "A.h"
    assert function_of(compile("[i for i in ()]", "x", "exec")) == "<module>"
    inner = [code for code in compile("[i for i in ()]", "x", "exec").co_consts if hasattr(code, "co_consts")]
    assert {function_of(code) for code in inner} <= {"<module>"}
