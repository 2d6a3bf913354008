"""Every operator of the pattern language, on graphs small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.errors import RuleError
from normadvisor.match import match
from normadvisor.rulebook.model import Clause, Definitions, ModulePattern, Pattern, Relation
from normadvisor.types import RunContext

ROOT = Path("/project")


def modules(graph, rule, context=None):
    return [finding.modules for finding in match(graph, [rule], context or RunContext(), ROOT)]


def messages(graph, rule, context=None):
    return [finding.message for finding in match(graph, [rule], context or RunContext(), ROOT)]


def test_an_anchor_matches_operations_groups_and_local_groups(builder, rule_of):
    builder.row("input", "conv", "linear", "relu", "batch_norm", "output")
    graph = builder.graph()
    assert modules(graph, rule_of(Pattern(node="a", op="relu"))) == [("m3",)]
    assert modules(graph, rule_of(Pattern(node="a", op=["linear_map", "relu"]))) == [("m1",), ("m2",), ("m3",)]
    define = Definitions(ops={"inner": ["relu"], "mine": ["inner", "norm"]})
    assert modules(graph, rule_of(Pattern(node="a", op="mine"), define=define)) == [("m3",), ("m4",)]


def test_where_sees_attributes_fields_and_derived_keys(builder, rule_of):
    builder.add("input", shape=(2, 3, 8, 8))
    builder.add("batch_norm", 0, module="bn", num_features=3, in_shape=(2, 3, 8, 8), shape=(2, 3, 8, 8))
    rule = rule_of(
        Pattern(node="bn", op="batch_norm", where="bn.num_features == 3 and bn.nonsense is None"),
        message="{bn.spatial} {bn.values_per_channel} {bn.statistic_batch} {bn.channels} {bn.rank} {bn.inputs} {bn.users} {bn.batch_factor}",
    )
    assert messages(builder.graph(), rule) == ["64 unknown unknown 3 4 1 0 1"]
    assert messages(builder.graph(), rule, RunContext(batch_size=16, world_size=8)) == ["64 128 2 3 4 1 0 1"]


def test_synchronised_layers_and_folded_batches_share_more_rows(builder, rule_of):
    builder.add("input", shape=(2, 128, 3))
    builder.add("batch_norm", 0, module="bn", sync=True, in_shape=(256, 3))
    rule = rule_of(Pattern(node="bn", op="batch_norm"), message="{bn.batch_factor} {bn.statistic_batch} {bn.values_per_channel}")
    assert messages(builder.graph(), rule, RunContext(batch_size=8, world_size=8)) == ["128 1024 1024"]


@pytest.mark.parametrize(
    ("through", "until", "expected"),
    [
        ([], [], []),
        (["dropout"], [], []),
        (["dropout", "identity"], [], [("m1",)]),
        (["any"], [], [("m1",)]),
        (["any"], ["identity"], []),
    ],
)
def test_a_relation_goes_through_what_it_admits(builder, rule_of, through, until, expected):
    builder.row("input", "conv", "dropout", "identity", "batch_norm", "output")
    relation = Relation(node="bn", op="batch_norm", through=through, until=until)
    assert modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation]))) == expected


def test_through_where_sees_via_and_the_names_before(builder, rule_of):
    builder.add("input")
    builder.add("conv", 0, module="conv", out_channels=8)
    builder.add("pad", 1, module="pad", value=0)
    builder.add("batch_norm", 2, module="bn")
    for condition, expected in (("via.value == 0 and conv.out_channels == 8", [("conv",)]), ("via.value != 0", [])):
        relation = Relation(node="bn", op="batch_norm", through="pad", through_where=condition)
        assert modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation]))) == expected


def test_follows_walks_along_the_inputs(builder, rule_of):
    builder.row("input", "conv", "relu", "batch_norm", "output")
    pattern = Pattern(node="bn", op="batch_norm", follows=[Relation(node="conv", op="conv", through="activation")])
    assert messages(builder.graph(), rule_of(pattern, message="{conv.module} {conv_all} {conv}")) == ["m1 m1 m1"]
    assert modules(builder.graph(), rule_of(pattern, at="conv")) == [("m1",)]


@pytest.fixture
def fork(builder):
    """A convolution used by a norm and by an activation that leads to a second norm and to the output."""
    builder.add("input")
    builder.add("conv", 0, module="conv")
    builder.add("batch_norm", 1, module="first")
    builder.add("relu", 1, module="act")
    builder.add("batch_norm", 3, module="second")
    builder.add("output", 2, 4, 3)
    return builder


def test_some_path_or_every_path(fork, rule_of):
    graph = fork.graph()

    def found(paths, through):
        relation = Relation(node="bn", op="batch_norm", paths=paths, through=through)
        return modules(graph, rule_of(Pattern(node="conv", op="conv", precedes=[relation])))

    assert found("some", []) == [("conv",)]
    assert found("every", []) == []
    assert found("every", "activation") == []
    assert found("some", "any") == [("conv",)]
    assert found("every", "any") == []


def test_every_path_holds_when_each_ends_in_a_hit(builder, rule_of):
    builder.add("input")
    builder.add("conv", 0, module="conv")
    builder.add("relu", 1, module="a")
    builder.add("dropout", 1, module="b")
    builder.add("add", 2, 3)
    builder.add("batch_norm", 4, module="bn")
    builder.add("output", 5)
    relation = Relation(node="bn", op="batch_norm", paths="every", through=["activation", "dropout", "add"])
    assert modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation]))) == [("conv",)]


def test_every_fails_without_any_path(builder, rule_of):
    builder.row("input", "conv")
    relation = Relation(node="bn", op="batch_norm", paths="every", through="any")
    assert modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation]))) == []


def test_the_nearest_hit_names_the_node_and_all_are_listed(fork, rule_of):
    relation = Relation(node="bn", op="batch_norm", through="activation")
    rule = rule_of(Pattern(node="conv", op="conv", precedes=[relation]), message="{bn.module}: {[one.module for one in bn_all]}")
    assert messages(fork.graph(), rule) == ["first: first, second"]


def test_a_hit_must_satisfy_its_own_relations(fork, rule_of):
    inner = Relation(node="source", op="relu")
    relation = Relation(node="bn", op="batch_norm", through="activation", follows=[inner])
    rule = rule_of(Pattern(node="conv", op="conv", precedes=[relation]), message="{bn.module} behind {source.module}")
    assert messages(fork.graph(), rule) == ["second behind act"]


def test_a_hit_must_not_satisfy_what_it_is_without(fork, rule_of):
    forbidden = Clause(follows=[Relation(node="source", op="relu")])
    relation = Relation(node="bn", op="batch_norm", through="activation", without=[forbidden])
    rule = rule_of(Pattern(node="conv", op="conv", precedes=[relation]), message="{[one.module for one in bn_all]}")
    assert messages(fork.graph(), rule) == ["first"]


def test_within_bounds_the_visited_nodes(builder, rule_of):
    builder.row("input", "conv", *["relu"] * 10, "batch_norm")

    def found(within):
        relation = Relation(node="bn", op="batch_norm", through="any", within=within)
        return modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation])))

    assert found(10) == []
    assert found(11) == [("m1",)]


def test_every_is_not_claimed_beyond_the_horizon(builder, rule_of):
    builder.add("input")
    builder.add("conv", 0, module="conv")
    builder.add("batch_norm", 1, module="near")
    builder.add("relu", 1, module="act")
    builder.add("batch_norm", 3, module="far")

    def found(within):
        relation = Relation(node="bn", op="batch_norm", through="any", paths="every", within=within)
        return modules(builder.graph(), rule_of(Pattern(node="conv", op="conv", precedes=[relation])))

    assert found(2) == []
    assert found(3) == [("conv",)]


def test_the_first_alternative_that_holds_names_its_nodes(fork, rule_of):
    pattern = Pattern(
        node="conv",
        op="conv",
        any_of=[
            Clause(precedes=[Relation(node="norm", op="group_norm")]),
            Clause(precedes=[Relation(node="act", op="relu")], where="act.module == 'act'"),
            Clause(precedes=[Relation(node="norm", op="batch_norm")]),
        ],
    )
    assert messages(fork.graph(), rule_of(pattern, message="{norm.module} {act.module}")) == ["unknown act"]
    pattern.any_of = [Clause(where="conv.module == 'other'")]
    assert messages(fork.graph(), rule_of(pattern)) == []


def test_without_sees_what_was_captured(fork, rule_of):
    pattern = Pattern(node="conv", op="conv", precedes=[Relation(node="bn", op="batch_norm")])
    pattern.without = [Clause(where="bn.module == 'second'"), Clause(precedes=[Relation(node="x", op="linear")])]
    assert modules(fork.graph(), rule_of(pattern)) == [("conv",)]
    pattern.without = [Clause(where="bn.module == 'first'")]
    assert modules(fork.graph(), rule_of(pattern)) == []


def test_module_patterns_look_at_modules_run_or_not(builder, rule_of):
    builder.row("input", "conv", "batch_norm")
    builder.modules["m2"].ran = False
    rule = rule_of(ModulePattern(module="layer", op="norm", where="not layer.ran and layer.owner_ran"), message="{layer.name} {layer.cls}")
    assert messages(builder.graph(), rule) == ["m2 Batch_Norm"]


def test_definitions_count_operations_groups_and_patterns(builder, rule_of):
    builder.row("input", "conv", "batch_norm", "relu", "conv", "relu", "conv", "batch_norm", "relu")
    define = Definitions(
        ops={"both": ["conv", "relu"]},
        patterns={"normed": Pattern(node="c", op="conv", precedes=[Relation(node="b", op="batch_norm")])},
        values={"normed_convs": "count(normed)", "most": "normed_convs * 2 > count(conv)"},
    )
    rule = rule_of(
        Pattern(node="conv", op="conv", where="most", without=[Clause(precedes=[Relation(node="bn", op="batch_norm")])]),
        define=define,
        when="count(both) == 6 and count(norm) == 2 and count(gelu) == 0",
        message="{normed_convs} of {count(conv)}",
    )
    assert messages(builder.graph(), rule) == ["2 of 3"]


def test_when_decides_once_for_the_model(builder, rule_of):
    builder.row("input", "conv")
    rule = rule_of(Pattern(node="conv", op="conv"), when="context.batch_size < 8 and model.inputs_given")
    assert modules(builder.graph(), rule) == []
    assert modules(builder.graph(), rule, RunContext(batch_size=4)) == [("m1",)]
    assert modules(builder.graph(inputs_given=False), rule, RunContext(batch_size=4)) == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"message": "{conv.module + 1}"}, "conv.module + 1"),
        ({"evidence": {"what": "conv.module < 3"}}, "conv.module < 3"),
        ({"when": "model.target < 3"}, "model.target < 3"),
    ],
)
def test_an_expression_that_fails_is_an_error_of_the_rule_file(builder, rule_of, tmp_path, fields, text):
    builder.row("input", "conv")
    source = tmp_path / "AA001.yaml"
    source.write_text(f"id: AA001\n\nsomewhere: {text}\n")
    rule = rule_of(Pattern(node="conv", op="conv"), source=str(source), **fields)
    with pytest.raises(RuleError) as caught:
        match(builder.graph(), [rule], RunContext(), ROOT)
    assert "AA001" in caught.value.message
    assert text in caught.value.message
    assert caught.value.location.path == str(source)


def test_a_condition_that_fails_points_into_the_file(builder, rule_of, tmp_path):
    builder.row("input", "conv")
    source = tmp_path / "AA001.yaml"
    source.write_text("id: AA001\npattern:\n  where: conv.module < 3\n")
    rule = rule_of(Pattern(node="conv", op="conv", where="conv.module < 3"), source=str(source))
    with pytest.raises(RuleError) as caught:
        match(builder.graph(), [rule], RunContext(), ROOT)
    assert (caught.value.location.line, caught.value.location.column) == (3, 10)


def test_unknown_operations_are_an_error(builder, rule_of):
    builder.row("input", "conv")
    with pytest.raises(RuleError, match="`convolution` is neither an operation nor a group"):
        match(builder.graph(), [rule_of(Pattern(node="conv", op="convolution"))], RunContext(), ROOT)


def test_a_pattern_that_counts_itself_is_an_error(builder, rule_of):
    builder.row("input", "conv")
    define = Definitions(patterns={"loop": Pattern(node="c", op="conv", where="count(loop) > 0")})
    with pytest.raises(RuleError, match="pattern `loop` counts itself"):
        match(builder.graph(), [rule_of(Pattern(node="conv", op="conv", where="count(loop) > 0"), define=define)], RunContext(), ROOT)


def test_rules_of_other_scopes_are_passed_over(builder, rule_of):
    builder.row("input", "conv")
    assert modules(builder.graph(), rule_of(Pattern(node="conv", op="conv"), scope="probe")) == []
