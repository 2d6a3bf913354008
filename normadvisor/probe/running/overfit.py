"""Can the network learn one batch by heart? Trains it on that batch alone, from its own weights, dropout off."""

from __future__ import annotations

import math

import torch

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.failures import failure, ran_out_of_memory
from normadvisor.probe.running.modes import is_random_layer
from normadvisor.probe.running.optimizers import small_number
from normadvisor.probe.running.samples import Batch, UnequalSamplesError, gather
from normadvisor.probe.running.session import Session

__all__ = ["LEARNT", "measure_overfit"]

ITERATIONS = 100
LEAST = 20
"""Fewer iterations say nothing."""
SAMPLES = 8
"""Most samples of the batch: a small one is learnt faster."""
LEARNT = 0.1
"""The training ends once the loss has fallen below this share of its first value for good."""
STEADY = 3
"""Iterations in a row that it has to stay there."""
RATES = (1e-3, 1e-2, 1e-4)
"""Learning rates of Adam, tried in turn until one learns: its own default first, then a larger and a smaller one."""
WARMUP = 5
"""Iterations over which the rate rises: the first steps of Adam are large wherever gradients are."""
HALF = 0.5
"""A rate that brings the loss below this share needs no other beside it to say that the batch can be learnt."""


def measure_overfit(session: Session) -> None:
    """Train on one batch; writes the curve and the facts ``overfit_*``. The model's weights change: begin the next phase fresh."""
    found = session.found
    loss = session.loss
    if loss is None or not session.differentiable:
        found.missing["overfit"] = "the loss does not depend on a trainable parameter"
        return
    if loss.unlearnable:
        found.missing["overfit"] = loss.unlearnable
        return
    best: tuple[float, float, list[float]] | None = None
    each = session.budget.step * min(1.0, SAMPLES / (session.source.size or SAMPLES))
    try:
        for rate in RATES:
            iterations = session.ranks.least(session.budget.passes(ITERATIONS, LEAST, each, 1.0))
            if iterations == 0:
                if best is None:
                    found.missing["overfit"] = _no_time(session, each)
                break
            session.fresh()
            curve = _train(session, rate, iterations)
            last = _settled(curve)
            if best is None or last < best[0]:
                best = (last, rate, curve)
            if session.ranks.any(last <= HALF * curve[0]):
                break
    except Exception as error:
        if session.ranks.world_size > 1:
            raise
        words = "memory ran out" if ran_out_of_memory(error) else failure(session.model, "a step failed", error).message
        found.missing["overfit"] = words
        return
    if best is None:
        return
    last, rate, curve = best
    found.curves["overfit"] = tuple(curve)
    if len(curve) < ITERATIONS and last > HALF * curve[0]:
        fitted = f"{len(curve)} of {ITERATIONS} iterations fitted into {session.budget.seconds:g} s"
        found.missing["overfit_last"] = f"{fitted}, too few to judge"
        return
    found.facts.update(
        overfit_first=curve[0], overfit_last=last, overfit_floor=0.0, overfit_iterations=len(curve), overfit_lr=rate
    )


def _no_time(session: Session, each: float) -> str:
    """How long the fewest iterations would take, and what was left of the budget."""
    left = max(session.budget.left, 0.0)
    return f"{LEAST} iterations would take about {LEAST * each:.2g} s, and of {session.budget.seconds:g} s {left:.2g} s were left"


def _settled(curve: list[float]) -> float:
    """Loss at the end: the median of the last three iterations, since single ones swing."""
    last = sorted(curve[-STEADY:])
    middle = last[len(last) // 2]
    return middle if math.isfinite(middle) else math.inf


def _batch(session: Session) -> Batch:
    batch = session.source.batch(0)
    if batch.size is None or batch.size <= SAMPLES:
        return batch
    try:
        return gather([batch], [(0, sample) for sample in range(SAMPLES)], key=batch.key)
    except UnequalSamplesError:
        return batch


def _train(session: Session, rate: float, iterations: int) -> list[float]:
    batch = _batch(session)
    optimizer = _optimizer(session, rate)
    quiet = dict(session.train_flags)
    quiet.update({module: False for name, module in walk(session.model) if is_random_layer(module, session.ops.get(name))})
    curve: list[float] = []
    steady = 0
    with session.mode(quiet):
        for number in range(iterations):
            session.progress("overfitting", number, iterations)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (number + 1) / WARMUP)
            _, loss = session.output_and_loss(batch)
            curve.append(float(loss.detach()))
            steady = steady + 1 if curve[-1] <= LEARNT * curve[0] else 0
            if session.ranks.any(not math.isfinite(curve[-1]) or steady >= STEADY):
                break
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
    session.progress("overfitting", iterations, iterations)
    return curve


def _optimizer(session: Session, rate: float) -> torch.optim.Optimizer:
    trainable = [p for p in session.model.parameters() if p.requires_grad]
    if session.sparse:
        return torch.optim.SGD(trainable, lr=100 * rate, momentum=0.9)
    return torch.optim.Adam(trainable, lr=rate, eps=small_number(trainable))
