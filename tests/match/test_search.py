"""The engine against a slow reference on random graphs, and its cost in visited nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.match import match
from normadvisor.match.engine import match_indexed
from normadvisor.match.matcher import GraphIndex
from normadvisor.rulebook.model import Chain, Definitions, Example, Examples, Pattern, Reference, Relation, Rule
from normadvisor.types import RunContext, Severity, TraceKind

THROUGH = frozenset({"relu", "add"})


def graph_of(ops: list[str], edges: list[tuple[int, ...]]) -> ModelGraph:
    nodes = [NodeInfo(index=i, name=f"n{i}", op=op, module=f"m{i}", cls=op, inputs=edges[i]) for i, op in enumerate(ops)]
    for node in nodes:
        for source in node.inputs:
            nodes[source].users += (node.index,)
    return ModelGraph(target="t", trace=TraceKind.SYMBOLIC, mode="train", nodes=nodes, modules={})


@st.composite
def graphs(draw: st.DrawFn) -> ModelGraph:
    ops = draw(st.lists(st.sampled_from(["conv", "relu", "add", "batch_norm", "linear"]), min_size=1, max_size=12))
    edges = [tuple(draw(st.lists(st.integers(0, i - 1), max_size=3))) if i else () for i in range(len(ops))]
    return graph_of(ops, edges)


def rule(pattern: Pattern, message: str = "found") -> Rule:
    return Rule(
        id="AA001", name="a", severity=Severity.INFO, scope="graph", summary="s", why="w", references=[Reference(title="t")], pattern=pattern,
        message=message, examples=Examples(bad=[Example(code="")], good=[Example(code="")]), define=Definitions(),
    )  # fmt: skip


def ends(graph: ModelGraph, start: int, *, forward: bool) -> list[bool]:
    """For every path from ``start``, one by one: whether it ends in a batch norm."""
    node = graph.nodes[start]
    found: list[bool] = []
    for index in node.users if forward else node.inputs:
        reached = graph.nodes[index]
        if reached.op == "batch_norm":
            found.append(True)
        elif reached.op in THROUGH:
            found += ends(graph, index, forward=forward) or [False]
        else:
            found.append(False)
    return found


@given(graphs(), st.booleans(), st.sampled_from(["some", "every"]))
def test_relations_agree_with_walking_every_path(graph: ModelGraph, forward: bool, paths: str) -> None:
    relation = Relation(node="bn", op="batch_norm", through=sorted(THROUGH), paths=paths)
    pattern = Pattern(node="conv", op="conv", **{"precedes" if forward else "follows": [relation]})
    judge = any if paths == "some" else lambda found: bool(found) and all(found)
    expected = [(f"m{node.index}",) for node in graph.nodes if node.op == "conv" and judge(ends(graph, node.index, forward=forward))]
    assert [finding.modules for finding in match(graph, [rule(pattern)], RunContext(), Path("/"))] == expected


def longest(graph: ModelGraph, index: int) -> int:
    """Members of the longest run that reaches a node, by walking every path."""
    node = graph.nodes[index]
    if node.op == "batch_norm":
        return 0
    return max((longest(graph, source) for source in node.inputs), default=0) + (node.op == "relu")


def extended(graph: ModelGraph, index: int) -> bool:
    return any(
        graph.nodes[user].op == "relu" or (graph.nodes[user].op != "batch_norm" and extended(graph, user)) for user in graph.nodes[index].users
    )


@given(graphs())
def test_runs_agree_with_walking_every_path(graph: ModelGraph) -> None:
    pattern = Pattern(node="end", op="relu", chain=Chain(node="run", op="relu", broken_by="batch_norm", min=1))
    found = match(graph, [rule(pattern, "{end.index} {run.length} {run.first.index}")], RunContext(), Path("/"))
    reported = [tuple(int(word) for word in finding.message.split()) for finding in found]
    maximal = {node.index: longest(graph, node.index) for node in graph.nodes if node.op == "relu" and not extended(graph, node.index)}
    assert {end: length for end, length, _ in reported}.items() <= maximal.items()
    assert len({start for _, _, start in reported}) == len(reported)
    assert max((length for _, length, _ in reported), default=0) == max(maximal.values(), default=0)


def residual_net(blocks: int) -> ModelGraph:
    ops, edges = ["input"], [()]
    for _ in range(blocks):
        start = len(ops) - 1
        for op in ("conv", "batch_norm", "relu"):
            ops.append(op)
            edges.append((len(ops) - 2,))
        ops.append("add")
        edges.append((len(ops) - 2, start))
    return graph_of(ops, edges)


@pytest.mark.parametrize("paths", ["some", "every"])
def test_visits_grow_in_proportion_to_the_graph(paths: str) -> None:
    rules = [
        rule(Pattern(node="conv", op="conv", precedes=[Relation(node="bn", op="linear", through="any", paths=paths, within=50)])),
        rule(Pattern(node="bn", op="batch_norm", follows=[Relation(node="conv", op="conv", through="activation", paths=paths)])),
        rule(Pattern(node="end", op="relu", chain=Chain(node="run", op="relu", broken_where="via.op == 'linear'", min=3))),
    ]

    def visits(blocks: int) -> int:
        index = GraphIndex(residual_net(blocks), RunContext())
        match_indexed(index, rules, Path("/"))
        return index.visits

    base, double, fourfold = visits(100), visits(200), visits(400)
    assert fourfold - double == 2 * (double - base)
    assert base < 60 * 401
