"""What a rule may say about mending: every mistake is named with its place, and the page says what each fix does."""

from __future__ import annotations

import pytest

from normadvisor.errors import RuleError
from normadvisor.rulebook import RuleErrors, load_text
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.explain_fixes import applicabilities
from normadvisor.rulebook.model import Change, FixTemplate
from normadvisor.types import Applicability, OperationKind

FIX = """\
fix:
  title: no bias
  applicability: safe
  description: Pass bias=False to {conv.module}.
  trade_off: Nothing is lost in {conv.module}.
  when: conv.bias
  change:
    kind: set_argument
    of: conv
    argument: bias
    value: false
alternatives:
  - title: groups
    applicability: unsafe
    description: Use GroupNorm.
    change:
      - kind: replace_layer
        of: bn
        layer: "torch.nn.{'GroupNorm' if bn.eps else 'Identity'}"
        arguments: {num_groups: group_count(bn.num_features), num_channels: bn.num_features}
      - {kind: remove_layer, of: bn_all, when: via.eps > 0}
      - {kind: swap_layers, of: conv, other: bn}
      - {kind: insert_layer, of: conv, layer: torch.nn.ReLU, arguments: {inplace: true}}
      - {kind: separate_layers, of: bn}
      - {kind: wrap_layer, of: conv, layer: torch.nn.utils.parametrizations.weight_norm}
      - {kind: use_function, of: bn, layer: torch.nn.functional.silu}
  - {applicability: display, description: Leave it.}
"""

PAGE = """\
## Fixes

### No bias

**Safe**: the same function is computed.

Pass bias=False to `conv`.

Trade-off: Nothing is lost in `conv`.

Offered where `conv.bias`.

- Builds `conv` with `bias` set to `False`.

### Groups

**Unsafe**: what is learned or stored changes.

Use GroupNorm.

- Replaces `bn` by `torch.nn.{'GroupNorm' if bn.eps else 'Identity'}(num_groups=group_count(bn.num_features), num_channels=bn.num_features)`.
- Removes `bn_all`, where `via.eps > 0`.
- Lets `conv` and `bn` change places.
- Runs `torch.nn.ReLU(inplace=True)` on what `conv` gives.
- Builds a layer of its own for every place where `bn` runs.
- Puts `torch.nn.utils.parametrizations.weight_norm()` around `conv`.
- Calls `torch.nn.functional.silu` in place of the operations that end in `bn`.

**By hand**: nothing is changed automatically.

Leave it.
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(RuleError) as caught:
        load_text(text, "r.yaml")
    errors = caught.value.errors if isinstance(caught.value, RuleErrors) else [caught.value]
    return [str(error) for error in errors]


def test_a_fix_is_read(rule_text):
    rule = load_text(rule_text + FIX, "r.yaml").rule
    assert rule.fix == FixTemplate(
        applicability=Applicability.SAFE,
        description="Pass bias=False to {conv.module}.",
        title="no bias",
        trade_off="Nothing is lost in {conv.module}.",
        when="conv.bias",
        change=[Change(kind=OperationKind.SET_ARGUMENT, of="conv", argument="bias", value=False)],
    )
    assert [change.kind for change in rule.alternatives[0].change] == [
        kind for kind in OperationKind.__members__.values() if kind != "set_argument"
    ]
    assert applicabilities(rule) == "safe, unsafe"


def test_a_page_says_what_fixes_do(rule_text):
    page = explain_markdown(load_text(rule_text + FIX, "").rule)
    assert page[page.index("## Fixes") :] == PAGE
    assert "· fix: safe, unsafe" in page


def test_an_optional_relation_is_read(rule_text):
    rule = load_text(rule_text.replace("      through: identity_like", "      optional: true"), "").rule
    assert rule.pattern.precedes[0].optional is True


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("kind: set_argument", "kind: set_argumnt", "r.yaml:31:11: 'kind' cannot be 'set_argumnt' (did you mean 'set_argument'?)"),
        ("    of: conv\n", "    off: conv\n", "r.yaml:31:5: 'of' is missing ('off' looks like it)"),
        ("    of: conv\n", "    of: cnv\n", "r.yaml:32:9: 'of' names 'cnv', which the pattern does not capture (did you mean 'conv'?)"),
        ("    of: conv\n", "    of: model\n", "r.yaml:32:9: 'of' names 'model', which the pattern does not capture"),
        ("    argument: bias\n", "", "r.yaml:31:5: 'set_argument' needs 'argument'"),
        ("    argument: bias\n", "    argument: bi-as\n", "r.yaml:33:15: 'bi-as' is no name of an argument"),
        ("    value: false\n", "", "r.yaml:31:5: 'set_argument' needs 'value'"),
        ("    value: false\n", "    value: conv.bais\n", "r.yaml:34:17: 'conv' has no attribute 'bais' (did you mean 'bias'?)"),
        ("    value: false\n", "    value: [1]\n", "r.yaml:34:12: 'value' must be an expression, this is a list"),
        ("    value: false\n", "    value: false\n    other: bn\n", "r.yaml:35:5: 'other' means nothing to 'set_argument' (it takes: argument, value)"),
        ("  when: conv.bias\n", "  when: conv.bais\n", "r.yaml:29:14: 'conv' has no attribute 'bais' (did you mean 'bias'?)"),
        ("  title: no bias\n", "  title: no {conv.bais}\n", "r.yaml:25:19: 'conv' has no attribute 'bais' (did you mean 'bias'?)"),
        ("  trade_off: N", "  trade_of: N", "r.yaml:28:3: unknown key 'trade_of' (did you mean 'trade_off'?)"),
        ("  applicability: safe\n", "  applicability: display\n", (
            "r.yaml:30:3: a fix in words only changes nothing (leave 'change' out, or make it safe or unsafe)")),
        ("  title: no bias\n", "  edit: insert_eval\n", "r.yaml:25:3: an 'edit' changes a script (it belongs to the fix of the 'script' section)"),
        ("other: bn}", "other: bn_all}", "r.yaml:45:46: 'other' names 'bn_all', which the pattern does not capture (it captures: conv, bn)"),
        ("when: via.eps > 0", "when: via.ep > 0", "r.yaml:44:52: 'via' has no attribute 'ep' (did you mean 'eps'?)"),
        ("of: bn_all, when: via.eps > 0", "of: bn, when: via.eps > 0", "r.yaml:44:44: unknown name 'via'"),
        ("layer: torch.nn.ReLU", "layer: ReLU", "r.yaml:46:47: 'ReLU' is no dotted name of a layer (such as torch.nn.GroupNorm)"),
        ("torch.nn.{'G", "torch nn.{'G", "is no dotted name of a layer (such as torch.nn.GroupNorm)"),
        ("if bn.eps else", "if bn.ep else", "r.yaml:42:45: 'bn' has no attribute 'ep' (did you mean 'eps'?)"),
        ("num_groups: group_count", "num-groups: group_count", "r.yaml:43:21: 'num-groups' is no name of an argument"),
        ("group_count(bn.num_features),", "group_cont(bn.num_features),", "unknown function 'group_cont' (did you mean 'group_count'?)"),
        ("of: conv, other: bn}", "of: conv}", "r.yaml:45:9: 'swap_layers' needs 'other'"),
        (", layer: torch.nn.ReLU", "", "r.yaml:46:9: 'insert_layer' needs 'layer'"),
        ("{kind: separate_layers, of: bn}", "{kind: separate_layers, of: bn, layer: a.b}", "r.yaml:47:41: 'layer' means nothing to 'separate_layers'"),
        ("arguments: {num_groups: group_count(bn.num_features), num_channels: bn.num_features}", "arguments: {eps: }", (
            "r.yaml:43:26: 'eps' must be an expression, this is empty")),
    ],
)  # fmt: skip
def test_mistakes(rule_text, old, new, error):
    assert old in FIX
    assert error in " | ".join(errors_of(rule_text + FIX.replace(old, new, 1)))


def test_optional_is_true_or_false(rule_text):
    text = rule_text.replace("      through: identity_like", "      optional: [1]")
    assert errors_of(text) == ["r.yaml:16:17: 'optional' must be true or false, this is a list"]


def test_alternatives_to_nothing(rule_text):
    text = rule_text + FIX[FIX.index("alternatives") :]
    assert errors_of(text) == ["r.yaml:24:1: alternatives to no fix (the first of them is the fix)"]


SCRIPT = """\
script:
  pattern: {node: call, op: model_call}
  message: found
  fix: {title: "{call.model}", trade_off: x, when: call.mode == 'train', applicability: unsafe, description: d, edit: insert_eval}
  alternatives: {applicability: display, description: other}
"""


def test_fixes_of_scripts(rule_text):
    side = load_text(rule_text + SCRIPT, "").rule.script
    assert (side.fix.title, side.alternatives[0].description) == ("{call.model}", "other")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("call.mode ==", "call.mod ==", "'call' has no attribute 'mod' (did you mean 'mode'?)"),
        ("{call.model}", "{call.modl}", "'call' has no attribute 'modl' (did you mean 'model'?)"),
        ("trade_off: x", 'trade_off: "{foo}"', "unknown name 'foo'"),
        ("description: other", "description: other, edit: insert_evil", "unknown edit 'insert_evil' (did you mean 'insert_eval'?)"),
        ("description: other", "description: other, change: {kind: remove_layer, of: call}", (
            "'change' changes layers of a traced model (name an 'edit' of the source)")),
    ],
)  # fmt: skip
def test_mistakes_in_fixes_of_scripts(rule_text, old, new, error):
    assert old in SCRIPT
    assert error in " | ".join(errors_of(rule_text + SCRIPT.replace(old, new, 1)))
