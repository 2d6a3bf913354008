"""Graphs and rules built by hand, so that the engine is tested without torch and without rule files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.rulebook.model import Definitions, Example, Examples, ModulePattern, Pattern, Reference, Rule
from normadvisor.types import Frame, Location, Severity, Site, TraceKind


def site(*places: tuple[str, int], function: str = "Net.__init__") -> Site:
    return Site(tuple(Frame(Location(path, line, 9, line, 20), function) for path, line in places))


class Builder:
    """Adds nodes in execution order; a node is known by the position that ``add`` returns."""

    def __init__(self) -> None:
        self.nodes: list[NodeInfo] = []
        self.modules: dict[str, ModuleInfo] = {}

    def add(self, op: str, *inputs: int, module: str = "", built: Site | None = None, called: Site | None = None, **fields: Any) -> int:
        known = {name: fields.pop(name) for name in ("shape", "in_shape", "calls", "channel_axis", "is_residual", "training") if name in fields}
        index = len(self.nodes)
        cls = op.title() if module else ""
        self.nodes.append(
            NodeInfo(index=index, name=f"n{index}", op=op, module=module, cls=cls, inputs=inputs, attrs=fields, call_site=called, **known)
        )
        for source in inputs:
            self.nodes[source].users += (index,)
        if module:
            self.modules[module] = ModuleInfo(name=module, cls=cls, op=op, site=built, attrs=fields)
        return index

    def row(self, *ops: str) -> list[int]:
        """A chain of operations, each a module named after its position."""
        made: list[int] = []
        for op in ops:
            named = "" if op in {"input", "output"} else f"m{len(self.nodes)}"
            made.append(self.add(op, *made[-1:], module=named))
        return made

    def graph(self, **fields: Any) -> ModelGraph:
        return ModelGraph(target="net.py:Net", trace=TraceKind.SYMBOLIC, mode="train", nodes=self.nodes, modules=self.modules, **fields)


def make_rule(pattern: Pattern | ModulePattern, **fields: Any) -> Rule:
    known = {
        "id": "AA001",
        "name": "a-rule",
        "severity": Severity.WARNING,
        "scope": "graph",
        "summary": "A rule",
        "why": "Because.",
        "references": [Reference(title="A book")],
        "message": "found",
        "examples": Examples(bad=[Example(code="")], good=[Example(code="")]),
        "define": Definitions(),
    }
    return Rule(pattern=pattern, **{**known, **fields})


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
def new_builder() -> type[Builder]:
    return Builder


@pytest.fixture
def rule_of() -> Callable[..., Rule]:
    return make_rule


@pytest.fixture
def site_of() -> Callable[..., Site]:
    return site
