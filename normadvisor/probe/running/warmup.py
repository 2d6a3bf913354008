"""The first steps, which nobody records: they find a batch that runs, choose the loss, and take the time."""

from __future__ import annotations

import gc
import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from normadvisor.errors import NormAdvisorError, ProbeError
from normadvisor.probe.running.failures import failure, ran_out_of_memory
from normadvisor.probe.running.losses import Loss, choose_loss
from normadvisor.probe.running.mean_loss import recognised_classes
from normadvisor.probe.running.outputs import Makers, primary
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Session
from normadvisor.probe.running.steps import frozen_words

__all__ = ["ForwardError", "cut_if_slow", "free_memory", "warm_up"]

TRIAL = 2
"""Samples of the forward pass that tells whether a warm-up with all of them would take too long."""
STEP = 3.0
"""Forward passes that a step takes: backward, each product is followed by two of its size."""
SIZES = (4, TRIAL)
"""Samples of a batch whose warm-up would take too long otherwise; the first that fits."""


def cut_if_slow(session: Session, seconds: float) -> None:
    """Make batches smaller where a warm-up and a single step would take longer than ``seconds``.

    Known from one forward pass of few samples, so that a model of which a whole batch takes minutes does not take them. Batches that the
    user gave, or whose size he said, stay as they are.
    """
    size = session.source.size
    if session.source.real or session.found.facts["batch_given"] or session.ranks.world_size > 1 or size is None or size <= max(SIZES):
        return
    session.source.cut(TRIAL)
    start = time.perf_counter()
    # A model that does not run says so in the warm-up, where it gets all samples.
    with suppress(Exception), torch.no_grad():
        session.forward(session.source.batch(0))
    each = (time.perf_counter() - start) * STEP / TRIAL
    session.source.cut(size)
    if 2 * each * size <= seconds:
        return
    smaller = next((wanted for wanted in SIZES if 2 * each * wanted <= seconds), None)
    if smaller is None:
        session.brief, smaller = True, SIZES[-1]
    session.source.cut(smaller)
    session.found.notes.append(f"batches of {smaller} samples: a step with {size} would take too much of {session.budget.seconds:g} s")


def free_memory(session: Session) -> None:
    """Give up what a failed step held."""
    for parameter in session.model.parameters():
        parameter.grad = None
    gc.collect()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()


def warm_up(session: Session, last_op: str | None) -> Batch:
    """One step without an update: chooses the loss where none was given and takes the time.

    Of a model so slow that a second step would not fit into the budget it is the forward pass alone.

    Returns:
        The batch that was run.

    Raises:
        NormAdvisorError: the model, the loss or the backward pass fails.
        Exception: memory ran out; see :func:`normadvisor.probe.running.failures.ran_out_of_memory`.

    """
    batch = session.source.batch(0)
    start = time.perf_counter()
    try:
        loss = _forward(session, batch, last_op)
    except ForwardError as error:
        if not _with_smaller_ids(session, error):
            raise
        batch = session.source.batch(0)
        loss = _forward(session, batch, last_op)
    session.budget.forward = time.perf_counter() - start
    session.differentiable = loss.requires_grad
    if session.brief and loss.requires_grad:
        session.sparse = any(getattr(module, "sparse", False) for module in session.model.modules())
        session.budget.step = STEP * session.budget.forward
        return batch
    if loss.requires_grad:
        try:
            torch.autograd.backward(session.precision.scaled(loss))
        except NormAdvisorError:
            raise
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            raise failure(session.model, "the backward pass failed", error) from error
        session.sparse = any(p.grad is not None and p.grad.is_sparse for p in session.model.parameters())
    else:
        session.found.notes.append(f"no gradient: {frozen_words(session.model)}")
    session.budget.step = time.perf_counter() - start
    return batch


class ForwardError(ProbeError):
    """The model does not take the batch: another size may do."""


def _with_smaller_ids(session: Session, error: ForwardError) -> bool:
    """Draw ids below the smallest table where some were too large for a table; false where that is not what failed."""
    if not isinstance(error.__cause__, IndexError) or session.ranks.world_size > 1:
        return False
    smallest = session.source.bound()
    if smallest is None:
        return False
    words = f"ids were drawn below {smallest}, the size of the smallest table: some were too large for it ({error.message})"
    session.found.notes.append(words)
    session.fresh()
    return True


def _run(session: Session, batch: Batch) -> Any:
    try:
        return session.forward(batch)
    except NormAdvisorError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        told = failure(session.model, "the forward pass in train mode failed", error)
        hint = "give batches that the model takes with --data, or describe its inputs with --input"
        raise ForwardError(told.message, location=told.location, hint=told.hint or hint) from error


def _forward(session: Session, batch: Batch, last_op: str | None) -> Tensor:
    """The loss of the first forward pass; chosen by its output where none was given."""
    if session.loss is not None:
        return _given(session, session.loss, batch)
    makers = Makers()
    with makers.watching(session.model):
        output = _run(session, batch)
    options, context = session.options, session.context
    session.loss = choose_loss(
        output, batch, makers, session.model, named=options.loss or context.loss, task=context.task, seed=options.seed,
        real=session.source.real, last_op=last_op,
    )  # fmt: skip
    return _loss(session, session.loss, output, batch, hint="give a loss with --loss, or targets that fit the output")


def _loss(session: Session, loss: Loss, output: Any, batch: Batch, *, hint: str) -> Tensor:
    try:
        with session.precision.active():
            return loss.of(output, batch)
    except NormAdvisorError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        told = failure(session.model, f"the loss {loss.name} failed", error)
        words = _class_words(output, batch) if isinstance(error, IndexError | RuntimeError) else ""
        raise ProbeError(f"{told.message}{words}", location=told.location, hint=hint) from error


def _class_words(output: Any, batch: Batch) -> str:
    """What class targets and scores hold, where they do not fit each other."""
    found = primary(output)
    if found is None or not isinstance(batch.target, Tensor) or batch.target.is_floating_point() or not batch.target.numel():
        return ""
    scores, lowest, highest = found[1], int(batch.target.min()), int(batch.target.max())
    classes = scores.shape[1] if scores.ndim > 1 else 0
    if lowest >= 0 and highest < classes:
        return ""
    return f"; the batch holds the class {lowest if lowest < 0 else highest}, and the output has {classes} classes"


def _given(session: Session, loss: Loss, batch: Batch) -> Tensor:
    """The loss of the user's function; forward pass and function told apart where one fails."""
    output = None if loss.takes_model else _run(session, batch)
    hint = f"it is called as {loss.words.removesuffix(', given')}"
    value = _loss(session, loss, session.model if loss.takes_model else output, batch, hint=hint)
    found = primary(output)
    if loss.classes is None and found is not None and isinstance(batch.target, Tensor) and not batch.target.is_floating_point():
        classes = recognised_classes(value, found[1], batch.target)
        if classes is not None:
            session.loss = replace(loss, classes=classes, expected=math.log(classes))
    return value
