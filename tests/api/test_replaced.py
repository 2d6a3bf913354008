from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from normadvisor.api.replaced import findings_of
from normadvisor.graph import trace
from normadvisor.optimization.prepared import Given
from normadvisor.rulebook import load_rules
from normadvisor.types import Confidence, Finding, Severity, Site
from normadvisor.types.location import Frame, Location
from normadvisor.types.optimization import Errors, Optimization, Ratio, Replacement

RULES = [rule for rule in load_rules() if rule.id in {"NA701", "NA706"}]
RATIO = Ratio(median=1.25, low=1.2, high=1.3, pairs=9, before=0.5, after=0.4)
ROW = Replacement(
    rule="NA701", stage="fold", pattern="conv2d + batch_norm", replacement="conv2d", modules=("0", "2"), kernel=RATIO, end_to_end=RATIO,
    memory=0.9, error=Errors(before=1e-7, after=2e-7, between=3e-7), proof="outputs equal", verdict="kept",
)  # fmt: skip


def found(*rows):
    return Optimization(target="net.py:Net", mode="inference", device="cpu", dtype="float32", inputs="2x3x8x8", replacements=rows)


def graph(tmp_path):
    (tmp_path / "net.py").write_text("import torch\nlayer = nn.Conv2d(3, 3, 3)\n", encoding="utf-8")
    place = Location(str(tmp_path / "net.py"), 2, 9, 2, 28)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    return trace(model, Given((torch.randn(2, 3, 8, 8),)), target="net.py:Net", sites={"0": Site((Frame(place, "<module>"),))})


def test_what_is_kept_is_confirmed_with_its_numbers(tmp_path):
    findings, withdrawn = findings_of(found(ROW), RULES, graph(tmp_path), tmp_path)
    [finding] = findings
    rule = next(rule for rule in RULES if rule.id == "NA701")
    assert withdrawn == ()
    assert finding == Finding(
        rule="NA701", name=rule.name, severity=Severity.INFO, confidence=Confidence.CONFIRMED,
        message="conv2d + batch_norm at 0 and 1 more: conv2d is 1.25 times as fast alone, the whole model 1.25 times",
        path=str(tmp_path / "net.py"), line=2, column=9, end_line=2, end_column=28, model="net.py:Net", modules=("0", "2"),
        evidence={
            "kernel_ratio": 1.25, "kernel_quartiles": [1.2, 1.3], "end_to_end_ratio": 1.25, "end_to_end_quartiles": [1.2, 1.3],
            "memory_ratio": 0.9, "error_before": 1e-7, "error_after": 2e-7, "proof": "outputs equal", "verdict": "kept",
        },
        fingerprint=finding.fingerprint,
    )  # fmt: skip


def test_what_measurement_speaks_against_is_withdrawn():
    rows = (replace(ROW, verdict="slower", reason="the whole model is slower"), replace(ROW, verdict="no gain"))
    findings, withdrawn = findings_of(found(*rows), RULES, None, Path.cwd())
    assert findings == ()
    assert [item.reason for item in withdrawn] == ["the whole model is slower", "less than 3% faster here: left out"]
    assert {item.finding.confidence for item in withdrawn} == {Confidence.SUSPECTED}
    assert len({item.finding.fingerprint for item in withdrawn}) == 2


def test_what_could_not_be_measured_is_suspected():
    row = replace(ROW, kernel=None, end_to_end=None, verdict="not measured", reason="the machine is busy")
    [finding], withdrawn = findings_of(found(row), RULES, None, Path.cwd())
    assert (finding.confidence, finding.path, withdrawn) == (Confidence.SUSPECTED, None, ())
    assert finding.message == "conv2d + batch_norm at 0 and 1 more: conv2d could be faster, could not be measured (the machine is busy)"


def test_without_operations_alone_the_whole_model_speaks():
    row = replace(ROW, rule="NA706", pattern="contiguous maps", replacement="channels_last maps", modules=("",), kernel=None)
    [finding], _ = findings_of(found(row), RULES, None, Path.cwd())
    assert (finding.message, finding.modules) == ("contiguous maps: channels_last maps makes the whole model 1.25 times as fast", ())


def test_rules_that_may_not_speak_are_silent():
    assert findings_of(found(ROW), [], None, Path.cwd()) == ((), ())
