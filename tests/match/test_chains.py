"""Runs of operations: length, breaks, maximality, shared starts."""

from __future__ import annotations

from pathlib import Path

from normadvisor.match import match
from normadvisor.rulebook.model import Chain, Pattern
from normadvisor.types import RunContext


def runs(graph, rule_of, *, where=None, end="saturating", **chain):
    pattern = Pattern(node="end", op=end, where=where, chain=Chain(node="run", op="saturating", **chain))
    rule = rule_of(pattern, message="{run.length}: {run.modules} ({run.first.module}-{run.last.module})")
    return [finding.message for finding in match(graph, [rule], RunContext(), Path("/"))]


def test_a_run_is_reported_once_at_its_end(builder, rule_of):
    builder.row("input", "tanh", "linear", "tanh", "linear", "sigmoid", "linear", "output")
    assert runs(builder.graph(), rule_of) == ["3: m1, m3, m5 (m1-m5)"]


def test_a_run_shorter_than_min_is_none(builder, rule_of):
    builder.row("input", "tanh", "linear", "tanh", "linear", "output")
    assert runs(builder.graph(), rule_of, min=3) == []
    assert runs(builder.graph(), rule_of, min=2) == ["2: m1, m3 (m1-m3)"]


def test_operations_and_conditions_break_runs(builder, rule_of):
    builder.add("input")
    for index in range(6):
        builder.add("batch_norm" if index == 2 else "tanh", index, module=f"m{index + 1}")
    assert runs(builder.graph(), rule_of, broken_by="norm") == ["2: m1, m2 (m1-m2)", "3: m4, m5, m6 (m4-m6)"]
    assert runs(builder.graph(), rule_of, broken_where="via.module == 'm5'") == ["3: m1, m2, m4 (m1-m4)"]


def test_the_longest_way_through_a_join_counts(builder, rule_of):
    builder.add("input")
    builder.add("tanh", 0, module="a")
    builder.add("tanh", 1, module="b")
    builder.add("add", 1, 2)
    builder.add("tanh", 3, module="c")
    assert runs(builder.graph(), rule_of) == ["3: a, b, c (a-c)"]


def test_of_runs_with_one_start_the_longest_is_reported(builder, rule_of):
    builder.add("input")
    builder.add("tanh", 0, module="trunk")
    builder.add("tanh", 1, module="short")
    builder.add("tanh", 1, module="long1")
    builder.add("tanh", 3, module="long2")
    assert runs(builder.graph(), rule_of) == ["3: trunk, long1, long2 (trunk-long2)"]


def test_where_sees_the_run(builder, rule_of):
    builder.row("input", "tanh", "tanh", "tanh")
    assert runs(builder.graph(), rule_of, where="run.length == 4") == []
    assert runs(builder.graph(), rule_of, where="run.length == 3") == ["3: m1, m2, m3 (m1-m3)"]
    assert runs(builder.graph(), rule_of, where="len([part for part in run.nodes if part.op == 'tanh']) == 3") != []


def test_a_run_may_lead_to_a_node_that_is_no_member(builder, rule_of):
    builder.row("input", "tanh", "tanh", "linear", "output")
    assert runs(builder.graph(), rule_of, end="output") == ["2: m1, m2 (m1-m2)"]


def test_the_modules_of_a_finding_are_those_of_the_run(builder, rule_of):
    builder.row("input", "tanh", "linear", "tanh")
    pattern = Pattern(node="end", op="tanh", chain=Chain(node="run", op="tanh"))
    (finding,) = match(builder.graph(), [rule_of(pattern)], RunContext(), Path("/"))
    assert finding.modules == ("m1", "m3")
