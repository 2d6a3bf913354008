"""What the built-in rules say about events: severity, confidence, place, and silence where nothing is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.match import match_script
from normadvisor.rulebook import load_rules
from normadvisor.script.events import Event, ScriptModel
from normadvisor.types import Location, RunContext
from normadvisor.types.events import EDITS, EVENTS

RULES = list(load_rules())
MODEL = {
    "model": "model", "class_name": "Net", "mode": "train", "batchnorm_mode": "train", "dropout_mode": "train", "batchnorm": "yes", "dropout": "no",
    "mode_dependent": "yes", "layers": ["BatchNorm2d at net.py:9"], "weights": "trained", "function": "main",
}  # fmt: skip
DROPOUT = {"batchnorm": "no", "dropout": "yes", "layers": ["Dropout at net.py:9"]}
UNKNOWN = {"batchnorm": "unknown", "dropout": "unknown", "mode_dependent": "unknown", "layers": []}
NEITHER = {"batchnorm": "no", "dropout": "no", "mode_dependent": "no", "layers": []}
EVAL = {"mode": "eval", "batchnorm_mode": "eval", "dropout_mode": "eval"}
NO_MODE = {"mode": "unknown", "batchnorm_mode": "unknown", "dropout_mode": "unknown"}
CALL = {**MODEL, "purpose": "inference", "purpose_reason": "under torch.no_grad()", "grad": "off", "updates_statistics": True, "frozen_parameters": "none"}
TRAINING = {**CALL, "purpose": "training", "purpose_reason": None, "grad": "on", "batchnorm_over_features": "no"}
STEP = {**MODEL, "holds_model": "yes", "after_evaluation": False, "freeze_undone": False, "accumulation": False}
EXPORT = {**MODEL, "exporter": "torch.jit.trace", "switches_itself": False, "can_switch_later": False}
LOSS = {"loss": "cross_entropy", "activation": "softmax", "through_model": False, "model": "model", "function": "main"}
DROP = {"call": "F.dropout", "training": "missing", "p": 0.5, "in_module": True, "guarded": False, "constructed": False, "function": "Net.forward"}
INIT = {"call": "nn.init.zeros_", "value": 0.0, "target": "weight", "layers": ["Linear"], "scope": "every_layer", "function": "init"}
OPTIMIZER = {"optimizer": "AdamW", "weight_decay": 0.05, "grouped": False, "covers_norm": "yes", "model": "model", "norm_layers": ["LayerNorm at net.py:9"]}
WRAP = {**MODEL, "wrapper": "DistributedDataParallel", "synchronized": False, "converted_after": False, "batch_size": 4, "device": "cuda"}
PENALTY = {**MODEL, "per_sample": "yes"}


def said(kind, attributes):
    """``RULE severity confidence`` of every finding on one event."""
    assert set(attributes) <= set(EVENTS[kind]), set(attributes) - set(EVENTS[kind])
    whole = {**dict.fromkeys(EVENTS[kind]), **attributes}
    places = {"switch": (Location("a.py", 3), "switched here"), "undone": (Location("a.py", 4), "undone here")}
    event = Event(kind, Location("a.py", 9, 5, 9, 12), whole, places, "call(x)")
    script = ScriptModel(path="a.py", events=(event,))
    found = match_script(script, RULES, RunContext(), root=Path(), modules={})
    assert all("unknown" not in finding.message and "None" not in finding.message for finding in found), found
    return [f"{finding.rule} {finding.severity} {finding.confidence}" for finding in found]


CASES = {
    "missing eval": ("model_call", CALL, ["NA401 warning confirmed"]),
    "missing eval, dropout": ("model_call", {**CALL, **DROPOUT}, ["NA401 warning confirmed"]),
    "missing eval, class out of reach": ("model_call", {**CALL, **UNKNOWN}, ["NA401 warning suspected"]),
    "neither layer": ("model_call", {**CALL, **NEITHER}, []),
    "mode unknown": ("model_call", {**CALL, **NO_MODE}, []),
    "eval": ("model_call", {**CALL, **EVAL}, []),
    "training": ("model_call", TRAINING, []),
    "purpose unknown": ("model_call", {**CALL, "purpose": "unknown", "grad": "on"}, []),
    "sampling": ("model_call", {**CALL, "deliberate": "sampling"}, ["NA401 info confirmed"]),
    "option": ("model_call", {**CALL, "deliberate": "option"}, ["NA401 info confirmed"]),
    "switched here and back": ("model_call", {**CALL, "deliberate": "explicit"}, ["NA401 info confirmed"]),
    "a generator in use": ("model_call", {**CALL, "input": "random", "weights": "loaded"}, ["NA401 warning suspected"]),
    "smoke test": ("model_call", {**CALL, "deliberate": "smoke_test"}, []),
    "statistics": ("model_call", {**CALL, "deliberate": "statistics_recalibration"}, []),
    "Monte Carlo dropout": ("model_call", {**CALL, **DROPOUT, "deliberate": "monte_carlo_dropout"}, []),
    "Monte Carlo dropout with batch norm": ("model_call", {**CALL, "dropout": "yes", "deliberate": "monte_carlo_dropout"}, ["NA401 info suspected"]),
    "frozen batch norm, dropout on": (
        "model_call", {**CALL, "dropout": "yes", "mode": "mixed", "batchnorm_mode": "eval", "layers": ["Dropout at net.py:9"]}, ["NA401 warning confirmed"]),
    "teacher": ("model_call", {**CALL, "purpose": "training", "weights": "loaded"}, ["NA404 warning confirmed"]),
    "teacher out of reach": ("model_call", {**CALL, **UNKNOWN, "purpose": "training", "weights": "loaded"}, ["NA404 warning suspected"]),
    "target of fresh weights": ("model_call", {**CALL, "purpose": "training", "weights": "fresh"}, ["NA404 info suspected"]),
    "momentum encoder": ("model_call", {**CALL, "purpose": "training", "deliberate": "momentum_encoder"}, []),
    "teacher in eval": ("model_call", {**CALL, **EVAL, "purpose": "training", "weights": "loaded"}, []),
    "one value per channel": ("model_call", {**TRAINING, "batchnorm_over_features": "yes", "batch_size": 1}, ["NA202 error confirmed"]),
    "last batch of one": ("model_call", {**TRAINING, "batchnorm_over_features": "yes", "batch_size": 64, "last_batch": 1}, ["NA202 error confirmed"]),
    "batches of one, maps": ("model_call", {**TRAINING, "batch_size": 1}, []),
    "frozen parameters": ("model_call", {**TRAINING, "frozen_parameters": "all"}, ["NA210 info confirmed"]),
    "some frozen parameters": ("model_call", {**TRAINING, "frozen_parameters": "some"}, ["NA210 info suspected"]),
    "frozen with statistics": ("model_call", {**TRAINING, **EVAL, "frozen_parameters": "all"}, []),
    "train not restored": ("optimizer_step", {**STEP, **EVAL, "after_evaluation": True}, ["NA402 warning confirmed"]),
    "train not restored, out of reach": ("optimizer_step", {**STEP, **EVAL, **UNKNOWN, "after_evaluation": True}, ["NA402 warning suspected"]),
    "another model": ("optimizer_step", {**STEP, **EVAL, "after_evaluation": True, "holds_model": "no"}, []),
    "linear probe": ("optimizer_step", {**STEP, **EVAL, "after_evaluation": True, "deliberate": "linear_probe"}, []),
    "never in train mode": ("optimizer_step", {**STEP, **EVAL}, ["NA405 warning confirmed"]),
    "never in train mode, holds unknown": ("optimizer_step", {**STEP, **EVAL, "holds_model": "unknown"}, []),
    "frozen batch norm": ("optimizer_step", {**STEP, "mode": "mixed", "batchnorm_mode": "eval", "dropout": "yes"}, []),
    "freeze undone": ("optimizer_step", {**STEP, "freeze_undone": True}, ["NA406 warning confirmed"]),
    "freeze kept": ("optimizer_step", {**STEP, "freeze_undone": True, "batchnorm_mode": "eval"}, []),
    "accumulation": ("optimizer_step", {**STEP, "accumulation": True}, ["NA211 info confirmed"]),
    "accumulation of few": ("optimizer_step", {**STEP, "accumulation": True, "batch_size": 8}, ["NA211 warning confirmed"]),
    "accumulation without": ("optimizer_step", {**STEP, **DROPOUT, "accumulation": True}, []),
    "trace": ("export", EXPORT, ["NA403 warning confirmed"]),
    "script": ("export", {**EXPORT, "exporter": "torch.jit.script", "can_switch_later": True}, ["NA403 info suspected"]),
    "legacy": ("export", {**EXPORT, "switches_itself": True}, []),
    "traced in eval": ("export", {**EXPORT, **EVAL}, []),
    "traced out of reach": ("export", {**EXPORT, **UNKNOWN}, ["NA403 warning suspected"]),
    "softmax": ("loss_call", LOSS, ["NA501 warning confirmed"]),
    "log softmax": ("loss_call", {**LOSS, "activation": "log_softmax"}, ["NA501 info confirmed"]),
    "softmax into nll": ("loss_call", {**LOSS, "loss": "nll"}, ["NA501 error confirmed"]),
    "log softmax into nll": ("loss_call", {**LOSS, "loss": "nll", "activation": "log_softmax"}, []),
    "logits": ("loss_call", {**LOSS, "activation": None}, []),
    "sigmoid": ("loss_call", {**LOSS, "loss": "bce_with_logits", "activation": "sigmoid"}, ["NA502 warning confirmed"]),
    "sigmoid in its place": ("loss_call", {**LOSS, "loss": "bce", "activation": "sigmoid"}, []),
    "a trace that an option wants": ("export", {**EXPORT, "deliberate": "option"}, ["NA403 info suspected"]),
    "a trace that is drawn": ("export", {**EXPORT, "deliberate": "display"}, []),
    "a trace in a test": ("export", {**EXPORT, "deliberate": "smoke_test"}, []),
    "dropout with a comment": ("dropout_call", {**DROP, "deliberate": "documented"}, ["NA509 info confirmed"]),
    "functional dropout": ("dropout_call", DROP, ["NA509 warning confirmed"]),
    "built dropout": ("dropout_call", {**DROP, "call": "nn.Dropout(0.5)", "constructed": True}, ["NA509 warning confirmed"]),
    "dropout always": ("dropout_call", {**DROP, "training": "true"}, ["NA509 info confirmed"]),
    "dropout by mode": ("dropout_call", {**DROP, "training": "mode"}, []),
    "guarded dropout": ("dropout_call", {**DROP, "guarded": True}, []),
    "dropout outside": ("dropout_call", {**DROP, "in_module": False}, []),
    "no dropout": ("dropout_call", {**DROP, "p": 0.0}, []),
    "alpha dropout": ("dropout_call", {**DROP, "call": "F.alpha_dropout"}, []),
    "meant": ("dropout_call", {**DROP, "training": "true", "deliberate": "monte_carlo_dropout"}, []),
    "zeros": ("initialization", INIT, ["NA505 warning confirmed"]),
    "constant": ("initialization", {**INIT, "call": "nn.init.constant_", "value": 0.1}, ["NA505 warning confirmed"]),
    "all parameters": ("initialization", {**INIT, "target": "parameters", "layers": []}, ["NA505 warning confirmed"]),
    "biases": ("initialization", {**INIT, "target": "bias"}, []),
    "norms": ("initialization", {**INIT, "layers": ["BatchNorm2d", "GroupNorm"]}, []),
    "one layer": ("initialization", {**INIT, "scope": "one_layer"}, []),
    "random": ("initialization", {**INIT, "call": "nn.init.normal_", "value": None}, []),
    "decay": ("optimizer", OPTIMIZER, ["NA508 info confirmed"]),
    "decay in groups": ("optimizer", {**OPTIMIZER, "grouped": True}, []),
    "no decay": ("optimizer", {**OPTIMIZER, "weight_decay": 0.0}, []),
    "decay unknown": ("optimizer", {**OPTIMIZER, "weight_decay": None}, []),
    "decay without norms": ("optimizer", {**OPTIMIZER, "norm_layers": []}, []),
    "small batches": ("distributed_wrap", WRAP, ["NA203 warning confirmed"]),
    "large batches": ("distributed_wrap", {**WRAP, "batch_size": 64}, []),
    "batches unknown": ("distributed_wrap", {**WRAP, "batch_size": None}, []),
    "converted": ("distributed_wrap", {**WRAP, "synchronized": True}, []),
    "converted late": ("distributed_wrap", {**WRAP, "converted_after": True, "batch_size": None}, ["NA203 warning confirmed"]),
    "on a CPU": ("distributed_wrap", {**WRAP, "device": "cpu"}, []),
    "without batch norm": ("distributed_wrap", {**WRAP, **NEITHER}, []),
    "in one process": ("distributed_wrap", {**WRAP, "wrapper": "DataParallel"}, []),
    "penalty": ("gradient_penalty", PENALTY, ["NA204 warning confirmed"]),
    "some penalty": ("gradient_penalty", {**PENALTY, "per_sample": "unknown"}, ["NA204 warning suspected"]),
    "penalty without": ("gradient_penalty", {**PENALTY, **NEITHER}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_events(case):
    kind, attributes, expected = CASES[case]
    assert said(kind, attributes) == expected


def test_findings_point_at_what_is_to_be_changed():
    step = {**dict.fromkeys(EVENTS["optimizer_step"]), **STEP, **EVAL, "after_evaluation": True}
    places = {"switch": (Location("a.py", 3), "switched here")}
    script = ScriptModel(path="a.py", events=(Event("optimizer_step", Location("a.py", 9), step, places, "optimizer.step()"),))
    (finding,) = match_script(script, RULES, RunContext(), root=Path(), modules={})
    assert (finding.line, [(place.line, place.message) for place in finding.related]) == (3, [(9, "leads to `optimizer.step()`")])


def test_edits_of_rules_are_known():
    named = {side.fix.edit for rule in RULES for side in (rule, rule.script) if side is not None and side.fix is not None and side.fix.edit}
    assert named <= set(EDITS)
