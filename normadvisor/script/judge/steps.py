"""What an optimizer step in eval mode means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.history import History

__all__ = ["judge_step"]


def judge_step(event: Event, history: History) -> None:
    """Fill in ``deliberate`` and ``after_evaluation`` of an optimizer step."""
    attributes = event.attributes
    model = history.of(event)
    froze = attributes.get("_froze")
    attributes["freeze_undone"] = attributes.get("_undone") is not None and not (froze is not None and froze.location in model.evaluated)
    attributes["after_evaluation"] = history.switched_to_evaluate(event)
    if attributes.get("deliberate") is None:
        attributes["deliberate"] = _deliberate(event, frozen=model.frozen)


def _deliberate(event: Event, *, frozen: bool) -> str | None:
    """Why eval mode is meant; ``None`` if nothing shows that it is."""
    attributes = event.attributes
    if attributes["mode"] == "mixed" or attributes.get("_frozen") is not None:
        return "frozen_batchnorm"
    switched = attributes.get("_switched")
    if switched is not None and switched.function.rpartition(".")[2] == "train" and "." in switched.function:
        return "frozen_batchnorm"  # the model's own train() leaves it, or a part of it, in eval mode
    if frozen and attributes["mode"] == "eval" and not attributes["after_evaluation"]:
        return "linear_probe"
    return None
