from __future__ import annotations

import math
import re
from pathlib import Path

from probe_samples import no_layers, not_finite, resnet, unmeasured, vanishing

from normadvisor.report.measured.words import missing_words, other_facts, run_facts, setup_pairs, setup_words
from normadvisor.types import RUN_FACTS, Measurements
from normadvisor.types.measurements import NO_BATCH_STATISTICS, NO_RUNNING_STATISTICS

PROBE = Path(__file__).resolve().parents[3] / "normadvisor" / "probe"


def test_facts_of_a_run():
    assert [tuple(fact) for fact in run_facts(resnet())] == [
        ("Initial loss", "2.4", "log 10 = 2.303", False),
        ("Last loss", "1.59", "in step 10", False),
        ("Gradient norm", "2.08", "median over the steps", False),
        ("Update ratio", "0.00244", "usual: 1e-4 to 1e-1", False),
        ("Overfitting", "2.4 \u2192 0.0043", "one batch, 60 iterations", False),
        ("Train and eval", "0.981", "cosine of the outputs, gap 0.19", False),
        ("Eval, repeated", "0", "relative difference of two passes", False),
        ("Eval, other batch", "1.2e-7", "relative difference beside other samples", False),
        ("Gradient noise scale", "412", "samples; the batch has 8", False),
        ("Step", "41.6\u00a0ms", "median", False),
        ("Peak memory", "812\u00a0MiB", "", False),
        ("Parameters", "12.6\u00a0M", "52 layers", False),
    ]


def test_facts_of_a_run_that_broke():
    facts = {fact.label: tuple(fact)[1:] for fact in run_facts(not_finite())}
    assert facts["Not finite"] == ("in step 3", "first in attention.scale", True)
    assert facts["Last loss"] == ("NaN", "in step 3", True)
    assert facts["Loss scale"] == ("65536", "undone in all gradients", False)


def test_what_was_not_measured_is_left_out():
    assert [tuple(fact) for fact in run_facts(unmeasured())] == [("Parameters", "0", "5 layers", False)]
    assert [tuple(fact) for fact in run_facts(no_layers())] == [("Initial loss", "1", "", False), ("Last loss", "1", "in step 2", False)]
    assert missing_words(unmeasured()) == [("loss", "the first step failed: out of memory")]
    assert missing_words(vanishing()) == [
        ("noise of batch statistics", "no BatchNorm layer"), ("difference of train and eval mode", "no layer behaves differently in eval mode"),
    ]  # fmt: skip


def test_what_was_not_measured_for_the_same_reason_stands_together():
    late = "no time was left of 20 s"
    measured = Measurements(target="a", missing={"code_gap": late, "loss": "it failed", "drop_scale": late, "own_key": late})
    assert missing_words(measured) == [
        ("what the model's own code changes in eval mode, scale of dropout by hand, own key", late), ("loss", "it failed"),
    ]  # fmt: skip


def test_what_a_model_does_not_have_is_not_called_missing():
    missing = {"bn_fresh": NO_RUNNING_STATISTICS, "norm_gap": NO_BATCH_STATISTICS, "norm_noise": NO_BATCH_STATISTICS}
    assert missing_words(Measurements(target="a", missing=missing)) == []


def test_everything_that_a_probe_may_miss_has_words():
    """No key of the source code is shown where a reader expects a name."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PROBE.rglob("*.py"))
    keys = set(re.findall(r'(?:missing\[|missing\.setdefault\(|\bfact\()"(\w+)"', code))
    keys |= {key for keys in re.findall(r"(?:_KEYS|keys) = \(([^)]*)\)", code) for key in re.findall(r'"(\w+)"', keys)} & set(RUN_FACTS)
    assert len(keys) > 15
    measured = Measurements(target="a", missing={key: f"reason {key}" for key in keys})
    assert [label for label, reason in missing_words(measured) if label == reason.removeprefix("reason ").replace("_", " ")] == ["expected initial loss"]


def test_facts_that_are_bad_by_themselves():
    measured = Measurements(target="a", facts={"restored": False, "nonfinite_input": True, "differentiable": False, "initial_loss": math.inf})
    assert [(fact.label, fact.value, fact.bad) for fact in run_facts(measured)] == [
        ("Batch", "not finite", True), ("Loss", "no gradient", True), ("Model", "not restored", True), ("Initial loss", "inf", True),
    ]  # fmt: skip


def test_other_facts_have_their_meaning():
    assert other_facts(Measurements(target="a", facts={"bn_fresh": True, "norm_gap": 0.25, "own": "x", "initial_loss": 1.0, "nothing": None})) == [
        ("bn fresh", "yes", "all running statistics are those of new layers: mean 0, variance 1"),
        ("norm gap", "0.25", "relative RMS difference of outputs with BatchNorm alone in train mode and in eval mode, statistics settled in that mode"),
        ("own", "x", ""),
    ]


def test_setup():
    assert setup_words(resnet()) == "cpu, fp32, 10 steps of 8 samples, sgd with learning rate 0.1, loss cross_entropy, seed 0"
    assert setup_words(Measurements(target="a")) == ""
    assert setup_words(Measurements(target="a", series={"loss": (1.0,)}, setup={"batch_size": 1, "world_size": 2})) == "1 step of 1 sample, 2 ranks"
    assert setup_pairs({"zeta": [1, 2], "lr": 1e-3, "device": "cpu", "none": None}) == [("device", "cpu"), ("learning rate", "0.001"), ("zeta", "1, 2")]
