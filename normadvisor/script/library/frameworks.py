"""Frameworks that handle modes themselves: trainers get models, and give them back in a mode nobody should rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.script.library import modes
from normadvisor.script.library.models import models_in
from normadvisor.script.library.names import last
from normadvisor.script.library.registry import extern, method, prefix
from normadvisor.script.values import NOTHING, Arguments, Place, Thing, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["trainer"]

_RUNS = (
    "fit", "test", "validate", "predict", "train", "evaluate", "run", "fine_tune", "fit_one_cycle", "lr_find", "fit_flat_cos", "tune",
    "get_preds", "partial_fit", "score", "learn", "hyperparameter_search", "train_model", "eval", "freeze", "unfreeze", "infer", "resume",
    "predict_proba", "find_lr", "export", "generate", "compute_metrics", "prediction_step", "train_epoch", "start_training", "launch",
)  # fmt: skip


@prefix(
    "pytorch_lightning.", "lightning.", "transformers.", "fastai.", "ignite.", "catalyst.", "keras.", "mmengine.", "mmcv.", "skorch.",
    "sentence_transformers.", "trl.", "ultralytics.", "composer.", "super_gradients.", "torchtnt.", "poutyne.", "torchbearer.",
    "detectron2.engine.",
    "pytorch_metric_learning.trainers.", "pytorch_metric_learning.testers.", "stable_baselines3.", "flair.", "simpletransformers.",
    "mmdet.", "mmseg.",
)  # fmt: skip
def trainer(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``Trainer(model=model)``, ``Learner(loaders, model)``, ``create_supervised_trainer(model, optimizer)``: remembers its models."""
    tail = last(name)
    if not (_is_trainer(tail) or name.startswith("ignite.engine.create")):
        return None
    held = {thing.address for value in arguments.values() for thing in models_in(machine, state, value)}
    ref = machine.new(state, "framework", place, name=name, extern=name, arguments=arguments)
    machine.things[ref.address].facts["models"] = tuple(sorted(held))
    return ref


_TRAINERS = ("Trainer", "Learner", "Engine", "Runner", "NeuralNet", "NeuralNetClassifier", "NeuralNetRegressor", "Tester")
_LEARNERS = frozenset(
    {"vision_learner", "cnn_learner", "unet_learner", "tabular_learner", "text_classifier_learner", "language_model_learner"}
)


def _is_trainer(tail: str) -> bool:
    return tail.endswith(_TRAINERS) or tail in _LEARNERS or tail == "Model"


@extern("lightning.Fabric", "accelerate.Accelerator", "ignite.handlers.EarlyStopping")
def helper(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Helpers that move models but leave their modes to the script."""
    return machine.new(state, "other", place, name=last(name), extern=name, arguments=arguments)


def _held(machine: Machine, thing: Thing) -> list[Thing]:
    return [machine.things[address] for address in thing.facts.get("models", ()) if address in machine.things]


@method(*_RUNS)
def run(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``trainer.fit(model)``: the framework switches modes as it likes."""
    thing = machine.thing(receiver)
    if thing is None or thing.kind != "framework":
        return None
    given = [model for value in arguments.values() for model in models_in(machine, state, value)]
    for model in (*_held(machine, thing), *given):
        modes.doubt(machine, state, model, place)
        if name in {"fit", "train", "run", "fine_tune", "fit_one_cycle"}:
            state.marks[model.address, "trained"] = place
    thing.facts["models"] = tuple(sorted({*thing.facts.get("models", ()), *(model.address for model in given)}))
    return NOTHING


@method("compile")
def compile_framework(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``model.compile(optimizer, loss)`` of a framework object."""
    del state, name, arguments, place
    thing = machine.thing(receiver)
    return NOTHING if thing is not None and thing.kind == "framework" else None
