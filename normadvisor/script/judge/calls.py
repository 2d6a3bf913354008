"""What a call of a model is for: training, inference, or something for which train mode is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from normadvisor.script.judge.choices import switched_around
from normadvisor.script.judge.deliberate import deliberate_call, in_training_step
from normadvisor.script.judge.history import History, spot

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.surroundings import Surroundings

__all__ = ["judge_call"]

_INFERENCE_NAME = re.compile(
    r"(^|_|\b)(eval|evaluate|evaluation|valid|validate|validation|val|test|testing|predict|prediction|predictions|infer|inference|accuracy|acc"
    r"|score|detect|classify|recognize|segment|demo|submit|submission|serve|extract|embed|embeddings|tta|metrics|generate)(_|\b|$)",
    re.IGNORECASE,
)


def judge_call(event: Event, history: History, around: Surroundings) -> None:
    """Fill in ``purpose``, ``purpose_reason`` and ``deliberate`` of a model call."""
    attributes = event.attributes
    if history.trains(event):
        model = history.of(event)
        meant = attributes["mode"] == "train" and switched_around(event, around)
        if attributes["weights"] == "loaded" and not model.stepped and not history.any_optimizer and not meant:
            attributes["purpose"], attributes["purpose_reason"] = "inference", "gradients are taken, but no optimizer steps"
        else:
            attributes["purpose"], attributes["purpose_reason"] = "training", "a backward pass reaches its output"
        return
    attributes["deliberate"] = deliberate_call(event, history, around)
    if spot(event) in history.feeding:
        attributes["purpose_reason"] = "its output is a target for another model"
        return
    if attributes["grad"] == "off" and in_training_step(event, history, around):
        attributes["purpose_reason"] = "in the middle of a training step"
        return
    reason = _inference_reason(event, history)
    if reason is not None:
        attributes["purpose"], attributes["purpose_reason"] = "inference", reason


def _inference_reason(event: Event, history: History) -> str | None:
    """What shows that a call is inference; ``None`` if nothing does."""
    attributes = event.attributes
    if attributes["grad"] == "off":
        return _no_grad_reason(event) if _is_a_network(event) else None
    if attributes["_in_module"]:
        return None
    used = attributes.get("_predicted") or attributes.get("_measured") or attributes.get("_output")
    function = str(attributes["function"]).rpartition(".")[2]
    model = history.of(event)
    if attributes["weights"] == "loaded" and not (model.trained or model.stepped) and (used or attributes["input"] != "random"):
        return "trained weights are loaded and nothing is trained"
    if used and _INFERENCE_NAME.search(function):
        return f"its output is a prediction, in a function named {function}"
    if used and attributes["weights"] == "trained" and not attributes.get("_loss"):
        return "its output is a prediction after the training"
    return None


def _is_a_network(event: Event) -> bool:
    """Whether a thing of a class out of reach is a network: by its layers, its weights, a switch, or the use of what it returns.

    A fixed filter that prepares data is run without gradients just so.
    """
    attributes = event.attributes
    if "yes" in {attributes["batchnorm"], attributes["dropout"]} or attributes["weights"] in {"loaded", "trained"}:
        return True
    used = any(attributes.get(f"_{use}") for use in ("predicted", "measured", "output", "judged"))
    return used or attributes.get("_switched") is not None


def _no_grad_reason(event: Event) -> str:
    place = event.attributes.get("_no_grad")
    text = place.text if place is not None else ""
    name = "inference_mode" if "inference_mode" in text else "set_grad_enabled" if "set_grad_enabled" in text else "no_grad"
    return f"under torch.{name}()"
