"""The recorded steps: forward, backward, update, as training does them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.errors import NormAdvisorError
from normadvisor.probe.recording.recorder import Recorder
from normadvisor.probe.running.nonfinite import Cause, all_finite, find_in_forward
from normadvisor.probe.running.optimizers import Chosen
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Session
from normadvisor.probe.running.trees import named_tensors

__all__ = ["STEPS_SHARE", "Steps", "run_steps"]

STEPS_SHARE = 0.6
"""Share of the budget after which no further step is begun, so that something is left for the other phases; one step is always run."""


@dataclass(slots=True)
class Steps:
    """What the steps gave beside what the recorder keeps."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    nonfinite_step: int | None = None
    nonfinite_layer: str | None = None
    nonfinite_input: bool = False
    cause: Cause | None = None
    """The function that made the first value that is not finite."""


def run_steps(session: Session, recorder: Recorder, chosen: Chosen | None) -> Steps:
    """Run the steps of a probe under a recorder.

    Stops early where the budget asks for it, and after a step whose loss or gradient is not finite, since all further numbers would be.

    Raises:
        NormAdvisorError: a step fails.
        MemoryError, torch.OutOfMemoryError, RuntimeError: memory ran out.

    """
    done = Steps()
    wanted = session.options.steps
    with recorder:
        for number in range(wanted):
            late = number >= 1 and not session.budget.allows(session.budget.step, STEPS_SHARE)
            if session.ranks.any(late):
                session.found.notes.append(f"{number} of {wanted} steps were run: more did not fit into {session.budget.seconds:g} s")
                break
            session.progress("steps", number, wanted)
            session.ranks.at(f"step {number + 1} of {wanted}")
            batch = session.source.batch(number)
            session.ranks.samples(batch.size or 1)
            start = time.perf_counter()
            finite = _step(session, recorder, chosen, batch, done)
            done.seconds.append(time.perf_counter() - start)
            if session.ranks.any(not finite):
                done.nonfinite_step = number
                break
    session.progress("steps", wanted, wanted)
    return done


def _step(session: Session, recorder: Recorder, chosen: Chosen | None, batch: Batch, done: Steps) -> bool:
    """One step; false where its loss or gradient is not finite."""
    number = len(done.losses) + 1
    random = _random_state(session.device)
    recorder.begin_step()
    try:
        loss = session.output_and_loss(batch)[1]
    except NormAdvisorError:
        raise
    except Exception as error:
        raise session.told(f"step {number} failed in its forward pass", error) from error
    value = float(loss.detach())
    done.losses.append(value)
    scale = session.precision.scale
    done.scales.append(scale)
    finite = not session.ranks.any(not math.isfinite(value))
    if loss.requires_grad:
        _backward(session, recorder, loss, number, scale)
    else:
        recorder.after_backward(scale)  # no parameter has a gradient, and that is what is to be seen
    if not finite:
        recorder.end_step()
        with recorder.paused():
            _find_nonfinite(session, batch, random, done)
        return False
    if chosen is not None and loss.requires_grad:
        try:
            session.precision.update(chosen.optimizer)
        except NormAdvisorError:
            raise
        except Exception as error:
            raise session.told(f"the optimizer's step {number} failed", error) from error
    recorder.end_step()
    if chosen is not None:
        chosen.optimizer.zero_grad(set_to_none=True)
    for parameter in session.model.parameters():
        parameter.grad = None
    norm = recorder.series().get("grad_norm", (None,))[-1]
    overflow = norm is not None and not abs(norm) < float("inf")
    # Gradients that overflow under a loss scale are what the scale is lowered for.
    return not overflow or (session.precision.scaler is not None and scale > 1)


def _backward(session: Session, recorder: Recorder, loss: Tensor, number: int, scale: float) -> None:
    try:
        torch.autograd.backward(session.precision.scaled(loss))
    except NormAdvisorError:
        raise
    except Exception as error:
        raise session.told(f"step {number} failed in its backward pass", error) from error
    session.ranks.average_gradients(session.model)
    recorder.after_backward(scale)


def _random_state(device: torch.device) -> Any:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _find_nonfinite(session: Session, batch: Batch, random: Any, done: Steps) -> None:
    """Run the step's forward pass again from the same random state and look at whole outputs: which is the first that is not finite?

    Weights are those of the step still, since a step without a finite loss makes no update.
    """
    done.nonfinite_input = any(not all_finite(tensor) for _, tensor in named_tensors((batch.args, dict(batch.kwargs))))
    torch.set_rng_state(random[0])
    if random[1] is not None:
        torch.cuda.set_rng_state(random[1], session.device)
    done.nonfinite_layer, done.cause = find_in_forward(session, batch)


def frozen_words(model: nn.Module) -> str:
    """Why a loss has no gradient, in words."""
    parameters = list(model.parameters())
    if not parameters:
        return "the model has no parameters"
    if not any(parameter.requires_grad for parameter in parameters):
        return "all parameters are frozen"
    return "the loss does not depend on any trainable parameter: forward runs without gradients, or detaches its output"
