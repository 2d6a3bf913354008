"""From the fixes of a rule to operations on the layers of one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.errors import RuleError
from normadvisor.match import match
from normadvisor.rulebook.model import Chain, Change, Clause, FixTemplate, ModulePattern, Pattern, Relation
from normadvisor.types import Applicability, Fix, Operation, OperationKind, Part, RunContext

ROOT = Path("/project")
NET = "/project/net.py"
SAFE, UNSAFE, DISPLAY = Applicability

CONV_BN = Pattern(node="conv", op="conv", precedes=[Relation(node="bn", op="batch_norm", optional=True)])
NO_BIAS = Change(kind=OperationKind.SET_ARGUMENT, of="conv", argument="bias", value=False)
NO_CONV = Change(kind=OperationKind.REMOVE_LAYER, of="conv")


def check(builder, rule, context=None):
    return match(builder.graph(), [rule], context or RunContext(), ROOT)


def fixes_of(finding) -> list[Fix]:
    return [fix for fix in (finding.fix, *finding.alternatives) if fix is not None]


def template(*changes, applicability=UNSAFE, **fields):
    return FixTemplate(applicability=applicability, description="do it", change=list(changes), **fields)


@pytest.fixture
def conv_bn(builder):
    """A convolution and a norm, both layers."""
    builder.add("input")
    builder.add("conv", 0, module="conv", out_channels=8)
    builder.add("batch_norm", 1, module="bn", num_features=8)
    return builder


def test_a_fix_carries_words_and_operations(conv_bn, rule_of):
    fix = FixTemplate(
        applicability=SAFE,
        description="no bias\nin {conv.module}",
        title="{conv.module} without",
        trade_off="none  for {bn.module}",
        change=[NO_BIAS],
    )
    (finding,) = check(conv_bn, rule_of(CONV_BN, fix=fix))
    conv = Part(module="conv", node="n1", op="conv", is_layer=True)
    assert finding.fix == Fix(
        SAFE, "no bias in conv", title="conv without", trade_off="none for bn",
        operations=(Operation(kind=OperationKind.SET_ARGUMENT, part=conv, argument="bias", value=False),),
    )  # fmt: skip
    assert finding.alternatives == ()


def test_every_kind_of_change(conv_bn, rule_of):
    changes = [
        Change(kind=OperationKind.REPLACE_LAYER, of="bn", layer="torch.nn.{'GroupNorm'}", arguments={"num_groups": "group_count(bn.num_features)", "eps": "bn.eps"}),
        Change(kind=OperationKind.REMOVE_LAYER, of="bn_all"),
        Change(kind=OperationKind.SWAP_LAYERS, of="conv", other="bn"),
        Change(kind=OperationKind.INSERT_LAYER, of="conv", layer="{model.activation}"),
        Change(kind=OperationKind.SEPARATE_LAYERS, of="bn"),
        Change(kind=OperationKind.WRAP_LAYER, of="conv", layer="torch.nn.utils.weight_norm", arguments={"dim": 0, "name": "'weight'"}),
    ]  # fmt: skip
    (finding,) = check(conv_bn, rule_of(CONV_BN, fix=template(*changes)))
    conv, bn = Part(module="conv", node="n1", op="conv"), Part(module="bn", node="n2", op="batch_norm")
    assert finding.fix.operations == (
        Operation(kind=OperationKind.REPLACE_LAYER, part=bn, layer="torch.nn.GroupNorm", arguments={"num_groups": 4}),
        Operation(kind=OperationKind.REMOVE_LAYER, part=bn),
        Operation(kind=OperationKind.SWAP_LAYERS, part=conv, other=bn),
        Operation(kind=OperationKind.INSERT_LAYER, part=conv, layer="torch.nn.ReLU"),
        Operation(kind=OperationKind.SEPARATE_LAYERS, part=bn),
        Operation(kind=OperationKind.WRAP_LAYER, part=conv, layer="torch.nn.utils.weight_norm", arguments={"dim": 0, "name": "weight"}),
    )


def test_operations_survive_json(conv_bn, rule_of):
    swap = Change(kind=OperationKind.SWAP_LAYERS, of="conv", other="bn")
    (finding,) = check(conv_bn, rule_of(CONV_BN, fix=template(swap, NO_BIAS), alternatives=[template(NO_CONV)]))
    assert type(finding).from_dict(finding.to_dict()) == finding


def test_a_call_is_no_layer(builder, rule_of):
    builder.row("input", "conv")
    builder.add("relu", 1)
    fix = template(Change(kind=OperationKind.REMOVE_LAYER, of="act"))
    (finding,) = check(builder, rule_of(Pattern(node="act", op="relu"), fix=fix))
    assert finding.fix.operations == (
        Operation(kind=OperationKind.REMOVE_LAYER, part=Part(module="", node="n2", op="relu", is_layer=False)),
    )


def test_a_module_that_never_ran_has_no_node(builder, rule_of):
    builder.row("input", "conv")
    fix = template(Change(kind=OperationKind.REMOVE_LAYER, of="layer"))
    (finding,) = check(builder, rule_of(ModulePattern(module="layer", op="conv"), fix=fix))
    assert finding.fix.operations == (Operation(kind=OperationKind.REMOVE_LAYER, part=Part(module="m1", node="", op="conv")),)


def test_the_first_that_is_offered_is_the_default(conv_bn, rule_of):
    rule = rule_of(
        CONV_BN,
        fix=template(NO_BIAS, when="conv.out_channels > 8"),
        alternatives=[template(NO_CONV, title="b", when="conv.out_channels == 8"), FixTemplate(applicability=DISPLAY, description="c")],
    )
    (finding,) = check(conv_bn, rule)
    assert [(fix.title, fix.description) for fix in fixes_of(finding)] == [("b", "do it"), ("", "c")]


def test_a_fix_that_does_the_same_is_left_out(conv_bn, rule_of):
    words = FixTemplate(applicability=DISPLAY, description="a")
    rule = rule_of(CONV_BN, fix=template(NO_BIAS, applicability=SAFE), alternatives=[template(NO_BIAS), words, words])
    (finding,) = check(conv_bn, rule)
    assert [fix.applicability for fix in fixes_of(finding)] == [SAFE, DISPLAY, DISPLAY]


@pytest.mark.parametrize(
    "change",
    [
        Change(kind=OperationKind.REMOVE_LAYER, of="bn"),
        Change(kind=OperationKind.SWAP_LAYERS, of="conv", other="bn"),
        Change(kind=OperationKind.SET_ARGUMENT, of="conv", argument="groups", value="conv.nothing"),
        Change(kind=OperationKind.REPLACE_LAYER, of="conv", layer="torch.nn.Conv{conv.rank - 2}d"),
        Change(kind=OperationKind.REMOVE_LAYER, of="conv", when="False"),
    ],
    ids=["unbound", "unbound other", "unknown value", "unknown layer", "nothing to do"],
)
def test_not_offered_where_something_is_unknown(builder, rule_of, change):
    builder.row("input", "conv")
    (finding,) = check(builder, rule_of(CONV_BN, fix=template(change)))
    assert finding.fix is None


def test_none_can_be_meant(conv_bn, rule_of):
    change = Change(kind=OperationKind.SET_ARGUMENT, of="bn", argument="momentum", value="None")
    (finding,) = check(conv_bn, rule_of(CONV_BN, fix=template(change)))
    assert finding.fix.operations[0].value is None


def test_a_change_of_what_is_not_there_is_left_out_by_its_condition(builder, rule_of):
    builder.row("input", "conv")
    changes = [NO_CONV, Change(kind=OperationKind.SET_ARGUMENT, of="bn", argument="eps", value="1e-3", when="bn is not None")]
    (finding,) = check(builder, rule_of(CONV_BN, fix=template(*changes)))
    assert [operation.kind for operation in finding.fix.operations] == ["remove_layer"]


def test_a_condition_is_asked_for_every_node_of_a_run(builder, rule_of):
    builder.row("input", "tanh", "tanh", "tanh")
    builder.nodes[2].calls = 2
    pattern = Pattern(node="end", op="tanh", chain=Chain(node="run", op="tanh"))
    change = Change(kind=OperationKind.REPLACE_LAYER, of="run", when="via.calls == 1", layer="torch.nn.ReLU")
    (finding,) = check(builder, rule_of(pattern, fix=template(change)))
    assert [operation.part.module for operation in finding.fix.operations] == ["m1", "m3"]


def test_a_shared_layer_is_built_once_and_each_call_removed(builder, rule_of):
    builder.add("input")
    for index in range(3):
        builder.add("relu", index, module="act", calls=3)
    pattern = Pattern(node="act", op="relu")
    swapped = template(Change(kind=OperationKind.REPLACE_LAYER, of="act", layer="torch.nn.GELU"))
    removed = template(Change(kind=OperationKind.REMOVE_LAYER, of="act"))
    (finding,) = check(builder, rule_of(pattern, report="model", fix=swapped, alternatives=[removed]))
    assert [[operation.part.node for operation in fix.operations] for fix in fixes_of(finding)] == [["n1"], ["n1", "n2", "n3"]]


def test_one_layer_cannot_be_two(builder, rule_of):
    builder.add("input")
    builder.add("batch_norm", 0, module="bn", in_shape=(2, 8))
    builder.add("batch_norm", 1, module="bn", in_shape=(2, 16))
    change = Change(kind=OperationKind.SET_ARGUMENT, of="bn", argument="num_features", value="bn.in_shape[1]")
    (finding,) = check(builder, rule_of(Pattern(node="bn", op="batch_norm"), report="model", fix=template(change)))
    assert finding.fix is None


@pytest.mark.parametrize(
    ("channels", "groups"),
    [((16, 24, 40), [4, 4, 4]), ((64, 128), [32, 32]), ((64, 3), [32, 1])],
    ids=["divisor", "same", "nothing in common"],
)
def test_one_line_builds_one_number_of_groups(builder, rule_of, site_of, channels, groups):
    builder.add("input")
    for index, width in enumerate(channels):
        builder.add("batch_norm", index, module=f"bn{index}", built=site_of((NET, 5)), num_features=width)
    builder.add("batch_norm", len(channels), module="other", built=site_of((NET, 6)), num_features=256)
    arguments = {"num_groups": "group_count(bn.num_features)", "num_channels": "bn.num_features"}
    change = Change(kind=OperationKind.REPLACE_LAYER, of="bn", layer="torch.nn.GroupNorm", arguments=arguments)
    (finding,) = check(builder, rule_of(Pattern(node="bn", op="batch_norm"), report="model", fix=template(change)))
    assert [operation.arguments["num_groups"] for operation in finding.fix.operations] == [*groups, 32]


def test_one_argument_for_the_groups_of_one_line(builder, rule_of, site_of):
    builder.add("input")
    for index, width in enumerate((16, 24)):
        builder.add("group_norm", index, module=f"gn{index}", built=site_of((NET, 5)), num_channels=width)
    change = Change(kind=OperationKind.SET_ARGUMENT, of="gn", argument="num_groups", value="group_count(gn.num_channels)")
    (finding,) = check(builder, rule_of(Pattern(node="gn", op="group_norm"), fix=template(change)))
    assert [operation.value for operation in finding.fix.operations] == [4, 4]


def test_a_condition_must_hold_for_all_layers_of_a_finding(builder, rule_of, site_of):
    builder.add("input")
    for index, width in enumerate((8, 16)):
        builder.add("conv", index, module=f"conv{index}", built=site_of((NET, 5)), out_channels=width)
    rule = rule_of(CONV_BN, fix=template(NO_BIAS, when="conv.out_channels == 8"), alternatives=[template(NO_CONV)])
    (finding,) = check(builder, rule)
    assert [operation.part.module for operation in finding.fix.operations] == ["conv0", "conv1"]
    assert finding.fix.operations[0].kind == "remove_layer"


def test_an_expression_that_fails_names_the_rule(conv_bn, rule_of):
    change = Change(kind=OperationKind.SET_ARGUMENT, of="conv", argument="bias", value="conv.module > 1")
    with pytest.raises(RuleError, match="AA001: value of a change"):
        check(conv_bn, rule_of(CONV_BN, fix=template(change)))


@pytest.mark.parametrize(
    ("ops", "layer"),
    [((), "ReLU"), (("gelu", "relu", "gelu"), "GELU"), (("sigmoid", "sigmoid", "tanh"), "Tanh"), (("relu", "silu"), "ReLU")],
)
def test_the_usual_activation(builder, rule_of, ops, layer):
    builder.row("input", *ops, "conv")
    (finding,) = check(builder, rule_of(CONV_BN, message="{model.activation}"))
    assert finding.message == f"torch.nn.{layer}"


def test_an_optional_relation_binds_what_is_there(builder, rule_of):
    builder.row("input", "conv", "batch_norm", "conv", "relu")
    behind = Relation(node="behind", op="relu", through=["conv"], optional=True)
    pattern = Pattern(
        node="conv",
        op="conv",
        precedes=[Relation(node="bn", op="batch_norm", optional=True, precedes=[behind])],
        without=[Clause(where="conv is None")],
    )
    findings = check(builder, rule_of(pattern, message="{conv.module} {bn.module} {behind.module}"))
    assert [finding.message for finding in findings] == ["m1 m2 m4", "m3 unknown unknown"]
