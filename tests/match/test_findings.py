"""Places, grouping, adjustments, evidence, silence and fingerprints."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.graph.model import ModelGraph
from normadvisor.match import match
from normadvisor.rulebook.model import Adjustment, FixTemplate, ModulePattern, Pattern, Relation
from normadvisor.types import Applicability, Confidence, Fix, Related, RunContext, Severity

ROOT = Path("/project")
NET, HELPER, LIBRARY = "/project/net.py", "/project/helper.py", "/project/.venv/lib/python3.11/site-packages/zoo/net.py"


def check(graph: ModelGraph, *rules, context=None):
    return match(graph, rules, context or RunContext(), ROOT)


def test_a_finding_carries_everything_the_rule_says(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="conv", built=site_of((NET, 5)), called=site_of((NET, 12), function="Net.forward"), out_channels=8)
    builder.add("batch_norm", 1, module="bn", built=site_of((NET, 6)), called=site_of((NET, 13), function="Net.forward"))
    rule = rule_of(
        Pattern(node="conv", op="conv", precedes=[Relation(node="bn", op="batch_norm")]),
        message="{conv.module} before {bn.module}",
        related=["bn"],
        evidence={"channels": "conv.out_channels", "norm": "bn", "norms": "bn_all", "none": "conv.nothing"},
        fix=FixTemplate(applicability=Applicability.SAFE, description="drop the bias of {conv.module}"),
    )
    (finding,) = check(builder.graph(), rule)
    fingerprint = finding.fingerprint
    assert finding.to_dict() == {
        "rule": "AA001", "name": "a-rule", "severity": "warning", "confidence": "confirmed", "message": "conv before bn",
        "path": NET, "line": 5, "column": 9, "end_line": 5, "end_column": 20, "model": "net.py:Net", "modules": ["conv"],
        "related": [
            {"path": NET, "line": 12, "message": "used in forward here", "cell": None},
            {"path": NET, "line": 6, "message": "`bn` is built here", "cell": None},
        ],
        "evidence": {"channels": 8, "norm": "bn", "norms": ["bn"], "none": None},
        "fix": {
            "applicability": "safe", "description": "drop the bias of conv", "edits": [], "title": "", "trade_off": "", "operations": [],
            "refused": "",
        },
        "alternatives": [],
        "suppressed": None, "fingerprint": fingerprint, "cell": None,
    }  # fmt: skip
    assert finding.fix == Fix(Applicability.SAFE, "drop the bias of conv")
    assert len(fingerprint) == 16


def test_the_innermost_frame_under_the_root_is_preferred(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a", built=site_of((LIBRARY, 3), (HELPER, 7), (NET, 5), (NET, 9)))
    builder.add("conv", 1, module="b", built=site_of((LIBRARY, 4), ("/elsewhere/x.py", 1)))
    rule = rule_of(Pattern(node="conv", op="conv"))
    first, second = sorted(check(builder.graph(), rule), key=lambda finding: finding.modules)
    assert (first.path, first.line) == (HELPER, 7)
    assert first.related == (Related(NET, 5, "called from here"), Related(NET, 9, "called from here"))
    assert (second.path, second.line) == (LIBRARY, 4)
    assert second.related == (Related("/elsewhere/x.py", 1, "called from here"),)


def test_an_installed_target_is_its_own_root(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a", built=site_of((LIBRARY, 3), (NET, 7)))
    (finding,) = match(builder.graph(), [rule_of(Pattern(node="conv", op="conv"))], RunContext(), Path(LIBRARY).parent)
    assert (finding.path, finding.line) == (LIBRARY, 3)


def test_a_function_is_found_where_it_is_called(builder, rule_of, site_of):
    builder.add("input")
    builder.add("relu", 0, called=site_of((NET, 20), function="Net.forward"))
    (finding,) = check(builder.graph(), rule_of(Pattern(node="act", op="relu")))
    assert (finding.path, finding.line, finding.related, finding.modules) == (NET, 20, (), ())


def test_at_chooses_the_node(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="conv", built=site_of((NET, 5)))
    builder.add("batch_norm", 1, module="bn", built=site_of((NET, 6)))
    pattern = Pattern(node="conv", op="conv", precedes=[Relation(node="bn", op="batch_norm")])
    (finding,) = check(builder.graph(), rule_of(pattern, at="bn", related=["conv"]))
    assert (finding.line, finding.modules) == (6, ("bn",))
    assert finding.related == (Related(NET, 5, "`conv` is built here"),)


def test_layers_of_one_line_are_one_finding(builder, rule_of, site_of):
    builder.add("input")
    for index in range(4):
        built = site_of((HELPER, 3), (NET, 10 + index)) if index < 3 else site_of((NET, 30))
        builder.add("conv", index, module=f"layer{index}", built=built)
    first, second = check(builder.graph(), rule_of(Pattern(node="conv", op="conv"), message="{conv.module} of {matches}"))
    assert (first.line, first.modules, first.message) == (
        3, ("layer0", "layer1", "layer2"), "layer0 of 4 (and 2 more layers built by this line)",
    )  # fmt: skip
    assert (second.line, second.modules, second.message) == (30, ("layer3",), "layer3 of 4")


def test_a_module_that_runs_twice_is_named_once(builder, rule_of, site_of):
    builder.add("input")
    for index in range(2):
        builder.add("conv", index, module="shared", built=site_of((NET, 5)))
    (finding,) = check(builder.graph(), rule_of(Pattern(node="conv", op="conv"), message="{conv.module}"))
    assert (finding.message, finding.modules) == ("shared", ("shared",))


def test_one_call_line_of_many_modules(builder, rule_of, site_of):
    builder.add("input")
    for index in range(3):
        builder.add("relu", index, called=site_of((NET, 20)))
        builder.nodes[-1].module = f"block{index}"
    (finding,) = check(builder.graph(), rule_of(Pattern(node="act", op="relu")))
    assert (finding.message, finding.modules) == ("found (and 2 more modules running this line)", ("block0", "block1", "block2"))


def test_the_worst_of_a_line_speaks(builder, rule_of, site_of):
    builder.add("input")
    for index in range(3):
        builder.add("conv", index, module=f"layer{index}", built=site_of((NET, 5)), groups=index)
    rule = rule_of(
        Pattern(node="conv", op="conv"),
        message="{conv.module}",
        adjust=[
            Adjustment(when="conv.groups == 1", severity=Severity.ERROR, confidence=Confidence.SUSPECTED, message="bad {conv.module}"),
            Adjustment(when="conv.groups >= 1", severity=Severity.INFO),
        ],
    )
    (finding,) = check(builder.graph(), rule)
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.SUSPECTED)
    assert finding.message == "bad layer1 (and 2 more layers built by this line)"
    assert finding.modules == ("layer0", "layer1", "layer2")


def test_one_finding_per_model(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a", built=site_of((LIBRARY, 3)))
    builder.add("conv", 1, module="b", built=site_of((NET, 6)))
    builder.add("conv", 2, module="c", built=site_of((NET, 7)))
    rule = rule_of(Pattern(node="conv", op="conv"), report="model", message="{matches} from {conv.module}")
    (finding,) = check(builder.graph(site=site_of((NET, 1))), rule)
    assert (finding.path, finding.line, finding.modules, finding.message) == (NET, 6, ("a", "b", "c"), "3 from a")
    assert finding.related == (Related(NET, 7, "`c` is built here"),)


def test_a_model_of_a_library_is_found_at_the_class(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a", built=site_of((LIBRARY, 3)))
    (finding,) = check(builder.graph(site=site_of((NET, 1))), rule_of(Pattern(node="conv", op="conv"), report="model"))
    assert (finding.path, finding.line) == (NET, 1)


def test_a_more_precise_rule_silences(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a", built=site_of((NET, 5)), groups=2)
    builder.add("conv", 1, module="b", built=site_of((NET, 6)))
    precise = rule_of(Pattern(node="conv", op="conv", where="conv.groups == 2"), id="AA002")
    broad = rule_of(Pattern(node="conv", op="conv"), silenced_by=["AA002"])
    assert [(finding.rule, finding.modules) for finding in check(builder.graph(), broad, precise)] == [("AA002", ("a",)), ("AA001", ("b",))]
    assert [finding.rule for finding in check(builder.graph(), broad)] == ["AA001", "AA001"]
    whole = rule_of(Pattern(node="conv", op="conv"), report="model", silenced_by=["AA002"])
    assert [finding.rule for finding in check(builder.graph(), whole, precise)] == ["AA002"]


def test_without_a_place_findings_stay_apart_and_come_last(builder, rule_of, site_of):
    builder.add("input")
    builder.add("conv", 0, module="a")
    builder.add("conv", 1, module="b")
    builder.add("conv", 2, module="c", built=site_of((NET, 5)))
    findings = check(builder.graph(), rule_of(Pattern(node="conv", op="conv")))
    assert [(finding.path, finding.modules) for finding in findings] == [(NET, ("c",)), (None, ("a",)), (None, ("b",))]
    assert len({finding.fingerprint for finding in findings}) == 3


def test_a_module_that_never_ran_has_a_place(builder, rule_of, site_of):
    builder.add("input")
    builder.add("relu", 0, module="act", built=site_of((NET, 5)))
    (finding,) = check(builder.graph(), rule_of(ModulePattern(module="layer", op="activation")))
    assert (finding.line, finding.modules, finding.related) == (5, ("act",), ())


@pytest.fixture
def fingerprints(new_builder, rule_of, site_of):
    """Fingerprints of convolutions built on some lines of a file with a given text."""

    def made(path, text, lines):
        path.write_text(text)
        builder = new_builder()
        builder.add("input")
        for index, line in enumerate(lines):
            builder.add("conv", index, module=f"layer{index}", built=site_of((str(path), line)))
        return [finding.fingerprint for finding in check(builder.graph(), rule_of(Pattern(node="conv", op="conv")))]

    return made


def test_fingerprints_survive_moved_lines_and_renamed_files(fingerprints, tmp_path):
    before = fingerprints(tmp_path / "old.py", "conv(1)\nconv(2)\nconv(1)\n", [1, 2, 3])
    moved = fingerprints(tmp_path / "new.py", "# a comment\n\n  conv(1)\nother\n\nconv(2)\nconv(1)\n", [3, 6, 7])
    changed = fingerprints(tmp_path / "changed.py", "conv(1)\nconv(3)\nconv(1)\n", [1, 2, 3])
    assert len(set(before)) == 3
    assert moved == before
    assert [one == other for one, other in zip(before, changed, strict=True)] == [True, False, True]
