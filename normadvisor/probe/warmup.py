"""The first steps, which nobody records: they find a batch that runs, choose the loss, and take the time."""

from __future__ import annotations

import gc
import time

import torch
from torch import Tensor

from normadvisor.errors import ProbeError
from normadvisor.probe.failures import failure, ran_out_of_memory
from normadvisor.probe.losses import Loss, choose_loss
from normadvisor.probe.outputs import Makers
from normadvisor.probe.samples import Batch
from normadvisor.probe.session import Session
from normadvisor.probe.steps import frozen_words

__all__ = ["free_memory", "warm_up"]


def free_memory(session: Session) -> None:
    """Give up what a failed step held."""
    for parameter in session.model.parameters():
        parameter.grad = None
    gc.collect()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()


def warm_up(session: Session, last_op: str | None) -> Batch:
    """One step without an update: chooses the loss where none was given and takes the time.

    Returns:
        The batch that was run.

    Raises:
        NormAdvisorError: the model, the loss or the backward pass fails.
        Exception: memory ran out; see :func:`normadvisor.probe.failures.ran_out_of_memory`.

    """
    batch = session.source.batch(0)
    start = time.perf_counter()
    loss = _forward(session, batch, last_op)
    session.budget.forward = time.perf_counter() - start
    session.differentiable = loss.requires_grad
    if loss.requires_grad:
        try:
            torch.autograd.backward(session.precision.scaled(loss))
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            raise failure(session.model, "the backward pass failed", error) from error
        session.sparse = any(p.grad is not None and p.grad.is_sparse for p in session.model.parameters())
    else:
        session.found.notes.append(f"no gradient: {frozen_words(session.model)}")
    session.budget.step = time.perf_counter() - start
    return batch


def _forward(session: Session, batch: Batch, last_op: str | None) -> Tensor:
    try:
        if session.loss is not None:
            return _given(session, session.loss, batch)
        makers = Makers()
        with makers.watching(session.model):
            output = session.forward(batch)
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        hint = "give batches that the model takes with --data, or describe its inputs with --input"
        raise failure(session.model, "the forward pass in train mode failed", error, hint=hint) from error
    options, context = session.options, session.context
    session.loss = choose_loss(
        output, batch, makers, session.model, named=options.loss or context.loss, task=context.task, seed=options.seed,
        real=session.source.real, last_op=last_op,
    )  # fmt: skip
    with session.precision.active():
        return session.loss.of(output, batch)


def _given(session: Session, loss: Loss, batch: Batch) -> Tensor:
    """Forward pass and given loss, told apart where one fails."""
    if loss.takes_model:
        return session.output_and_loss(batch)[1]
    output = session.forward(batch)
    try:
        with session.precision.active():
            return loss.of(output, batch)
    except ProbeError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        raise failure(session.model, f"the loss {loss.name} failed", error, hint="it is called as loss(output, target)") from error
