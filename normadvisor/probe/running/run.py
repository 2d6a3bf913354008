"""Run a model for some training steps and measure it: the whole of a probe, from batches to numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from normadvisor.errors import NormAdvisorError, ProbeError, UsageError
from normadvisor.probe.distributed import ALONE, Ranks
from normadvisor.probe.keeping.keep import Kept, kept
from normadvisor.probe.recording.recorder import Recorder
from normadvisor.probe.running.batches import described
from normadvisor.probe.running.budget import DEFAULT_SECONDS, Budget
from normadvisor.probe.running.draw import batch_of
from normadvisor.probe.running.failures import failure, ran_out_of_memory
from normadvisor.probe.running.losses import given_loss
from normadvisor.probe.running.noise import parameters_by_layer
from normadvisor.probe.running.optimizers import Chosen, choose_optimizer
from normadvisor.probe.running.peak import Peak, process_peak
from normadvisor.probe.running.phases import measure_beside_steps
from normadvisor.probe.running.precision import choose_precision
from normadvisor.probe.running.prepare import (
    batch_size_of,
    initialize,
    is_lazy,
    keeps_flags,
    last_op_of,
    not_compiled,
    operations,
    probed_model,
    source_of,
)
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Found, Session, device_of, seed_everything
from normadvisor.probe.running.steps import STEPS_SHARE, Steps, run_steps
from normadvisor.probe.running.surroundings import set_aside, surrounding_cast
from normadvisor.probe.running.warmup import ForwardError, cut_if_slow, free_memory, warm_up
from normadvisor.types import LayerMeasurements, Measurements

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.targets.inputs import Inputs
    from normadvisor.types import ProbeOptions, RunContext

__all__ = ["PHASES", "probe_model"]

PHASES = ("preparing", "steps", "noise", "modes", "overfitting", "restoring")
"""What ``progress`` is told, in order."""
LEAST_STEPS = 3
"""Rules that compare layers over steps do not speak on fewer."""
LEAST_BATCH = 4
"""Samples of a batch that was made smaller to save time."""


def probe_model(  # noqa: PLR0913 -- what is known about a model and its training, each by its name
    model: nn.Module,
    options: ProbeOptions,
    *,
    inputs: Inputs | None = None,
    batches: Iterable[Any] | None = None,
    loss_fn: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    graph: ModelGraph | None = None,
    target: str = "",
    context: RunContext,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
    ranks: Ranks = ALONE,
) -> Measurements:
    """Measure a model in training; it, the optimizer and the process are left exactly as they were.

    Warms up, runs recorded steps, and then, each from the weights it found: compares the gradients of several batches, compares train
    and eval mode, and learns one batch by heart. What does not fit into the budget, or cannot be measured, is missing with its reason.

    Args:
        model: on the device it is to run on; in train mode the flags of its modules are kept, else ``model.train()`` is called.
        options: how to measure.
        inputs: of ``forward``; their values are drawn anew for every batch, at the batch size that is wanted.
        batches: the user's data; takes precedence over ``inputs``. An iterable that may end, be infinite, or be good for one pass only.
        loss_fn: the user's loss, called as :func:`~normadvisor.probe.running.losses.given_loss` says; one is chosen where it is ``None``.
        optimizer: the user's optimizer over the model's parameters; it is restored, too.
        graph: the traced model, for the canonical operations of its modules.
        target: what the user calls the model.
        context: what is known about the training.
        progress: told a phase of :data:`PHASES`, what is done of it, and how much there is.
        ranks: the processes that this one trains with.

    Raises:
        ProbeError: the model, its loss or its batches do not run.
        InputError: batches do not fit the arguments of ``forward``.
        UsageError: options are wrong.

    """
    _check(options)
    found = Found()
    held = probed_model(model, found)
    device = device_of(held)
    probe = _Probe(
        held, options, inputs, batches, loss_fn, optimizer, graph, context, progress, ranks, found, surrounding_cast(device)
    )  # fmt: skip
    with set_aside(held, device):
        measured = _measured(probe, target)
    return ranks.joined(measured, model)


def _measured(probe: _Probe, target: str) -> Measurements:
    """All phases, and everything as it was."""
    held, optimizer, found, progress = probe.model, probe.optimizer, probe.found, probe.progress
    peak = Peak(device_of(held))
    progress("preparing", 0, 1)
    with not_compiled(held), kept(held, optimizer) as keep:
        session = _session(probe, keep)
        steps, recorder, chosen, batch = _steps(session, probe)
        layers, series = recorder.layers(), recorder.series()
        found.notes += [note for note in recorder.notes if note not in found.notes]
        if len(steps.losses) < LEAST_STEPS and steps.nonfinite_step is None:
            few = f"{len(steps.losses)} of the {LEAST_STEPS} steps were run that fading gradients and dead units are judged from"
            found.notes.append(few)
        by_layer = parameters_by_layer(recorder, session)
        del recorder
        peak.look()
        groups = probe.optimizer.param_groups if probe.optimizer is not None else []
        measure_beside_steps(
            session, steps, peak, layers=[layer.name for layer in layers], by_layer=by_layer,
            optimized=[parameter for group in groups for parameter in group["params"]],
        )  # fmt: skip
        progress("restoring", 0, 1)
        peak.look()
    differences = keep.verify()
    found.facts["restored"] = not differences
    found.notes += [f"not as it was found: {words}" for words in differences]
    progress("restoring", 1, 1)
    _run_facts(session, steps, batch, chosen)
    found.facts["peak_memory"] = peak.mebibytes
    return Measurements(
        target=target,
        layers=tuple(_with_facts(layer, found) for layer in layers),
        series=_run_series(series, steps),
        curves=found.curves,
        facts=found.facts,
        setup=_setup(session, steps, batch, chosen),
        missing=found.missing,
        notes=tuple(dict.fromkeys(found.notes)),
    )


@dataclass(slots=True)
class _Probe:
    """What :func:`probe_model` was given."""

    model: nn.Module
    options: ProbeOptions
    inputs: Inputs | None
    batches: Iterable[Any] | None
    loss_fn: Callable[..., Any] | None
    optimizer: torch.optim.Optimizer | None
    graph: ModelGraph | None
    context: RunContext
    progress: Callable[[str, int, int], None]
    ranks: Ranks
    found: Found
    cast: torch.dtype | None
    """Of the automatic mixed precision that the probe was called in."""


def _check(options: ProbeOptions) -> None:
    if options.steps < 1:
        raise UsageError(f"{options.steps} steps measure nothing", hint="ask for at least one")
    if options.budget is not None and not options.budget > 0:
        raise UsageError(f"a budget of {options.budget:g} seconds leaves no time for anything")


def _session(probe: _Probe, keep: Kept) -> Session:
    """Everything that the phases share; the model is seeded and in train mode afterwards."""
    model, options, found = probe.model, probe.options, probe.found
    device = device_of(model)
    precision = choose_precision(options.precision or probe.context.precision, model, device, surrounding=probe.cast)
    found.notes += precision.notes
    seed_everything(options.seed, device)
    size, said = batch_size_of(options, probe.context, probe.inputs if probe.batches is None else None)
    seed = options.seed + 1_000_003 * probe.ranks.rank
    source = source_of(model, inputs=probe.inputs, batches=probe.batches, precision=precision, size=size, seed=seed, steps=options.steps)
    found.notes += source.notes
    if is_lazy(model):
        found.notes.append("lazy layers got their shapes from the first batch; they are lazy again now")
        initialize(model, source.batch(0))
        keep = Kept(model, probe.optimizer)
    keeps = keeps_flags(model)
    train, evaluation = _flags(model, keep, keeps=keeps)
    found.facts["batch_given"] = said or source.real
    found.facts["real_data"] = source.real
    seconds = DEFAULT_SECONDS if options.budget is None else options.budget
    session = Session(
        model=model, source=source, precision=precision, options=options, context=probe.context, budget=Budget(seconds), kept=keep,
        device=device, train_flags=train, eval_flags=evaluation, keeps_flags=keeps, ops=operations(model, probe.graph),
        progress=probe.progress, ranks=probe.ranks, found=found,
        loss=given_loss(probe.loss_fn, model) if probe.loss_fn is not None else None,
    )  # fmt: skip
    session.fresh()
    return session


def _flags(model: nn.Module, keep: Kept, *, keeps: bool) -> tuple[dict[nn.Module, bool], dict[nn.Module, bool]]:
    """``training`` of every module while the model trains, and after ``model.eval()``."""
    try:
        if not keeps:
            model.train()
        train = {module: module.training for module in model.modules()}
        model.eval()
        evaluation = {module: module.training for module in model.modules()}
    except NormAdvisorError:
        raise
    except Exception as error:
        raise failure(model, "train() or eval() of the model failed", error) from error
    keep.restore()
    return train, evaluation


def _steps(session: Session, probe: _Probe) -> tuple[Steps, Recorder, Chosen | None, Batch]:
    """Warm-up and recorded steps; with smaller batches where memory runs out, with the inputs' own where no other is taken."""
    cut_if_slow(session, session.budget.seconds * STEPS_SHARE)
    while True:
        size: int | None = None
        try:
            session.fresh()
            highest = process_peak(session.device)
            batch = warm_up(session, last_op_of(probe.graph))
            size = batch.size
            _check_memory(session, highest)
            batch = _affordable(session, batch)
            session.fresh()
            return *_recorded(session, probe), batch
        except Exception as error:
            smaller = _smaller(session, probe, error, size)
            if smaller is None:
                raise
        free_memory(session)
        session.source.cut(smaller)
        if probe.loss_fn is None:
            session.loss = None


def _check_memory(session: Session, before: float) -> None:
    """Refuse a batch whose warm-up took more memory than is allowed.

    Raises:
        MemoryError: it did.

    """
    allowed, peak = session.options.memory, process_peak(session.device)
    if allowed is not None and peak > before and peak > allowed:
        raise MemoryError(f"{peak:.0f} MiB were used, and {allowed} MiB are allowed")


def _affordable(session: Session, batch: Batch) -> Batch:
    """The batch; a smaller one where the steps would not fit into the budget and nobody asked for its size."""
    budget, size = session.budget, batch.size
    wanted = budget.step * session.options.steps
    fitting = budget.seconds * STEPS_SHARE - budget.used
    slow = size is not None and size > LEAST_BATCH and not session.found.facts["batch_given"] and wanted > fitting
    if size is None or not session.ranks.any(slow):
        return batch
    smaller = session.ranks.least(max(LEAST_BATCH, min(size, int(size * max(fitting, 0.0) / wanted))))
    if smaller == size:
        return batch
    session.source.cut(smaller)
    budget.step *= smaller / size
    budget.forward *= smaller / size
    session.found.notes.append(f"batches of {smaller} samples: steps with {size} would not have fitted into {budget.seconds:g} s")
    return session.source.batch(0)


def _smaller(session: Session, probe: _Probe, error: Exception, size: int | None) -> int | None:
    """The batch size to try after an exception; ``None`` where trying again is of no use.

    Raises:
        ProbeError: not even one sample fits into memory.

    """
    now = size if size is not None else session.source.size
    if ran_out_of_memory(error):
        if session.ranks.world_size > 1 or now is None or now <= 1:
            message = "memory ran out with a single sample" if now == 1 else "memory ran out, and the batch cannot be divided"
            raise ProbeError(message, hint="give the model smaller inputs, or a machine with more memory") from error
        session.found.notes.append(f"memory ran out with {now} samples: the batch was halved to {now // 2}")
        session.found.facts["batch_given"] = False
        return now // 2
    own = batch_of(probe.inputs) if probe.inputs is not None and not session.source.real else None
    if own is None or now == own or not isinstance(error, ForwardError):
        return None
    session.found.notes.append(f"forward does not take {now} samples, so it was run with the {own} of its inputs: {error.message}")
    session.found.facts["batch_given"] = probe.inputs is not None and probe.inputs.given
    session.one_size = True
    return own


def _recorded(session: Session, probe: _Probe) -> tuple[Steps, Recorder, Chosen | None]:
    options = session.options
    chosen = choose_optimizer(
        session.model.parameters(), given=probe.optimizer, name=options.optimizer, lr=options.lr, sparse=session.sparse
    )
    recorder = Recorder(session.model, exact=options.exact, ops=session.ops, seed=options.seed)
    with session.ranks.watching(session.model):
        steps = run_steps(session, recorder, chosen)
    if chosen is not None and chosen.note:
        session.found.notes.append(chosen.note)
    if session.loss is not None:
        session.found.notes.append(f"loss: {session.loss.words}")
    if len(steps.seconds) > 1:
        typical = sorted(steps.seconds)[len(steps.seconds) // 2]
        session.budget.forward *= typical / max(session.budget.step, 1e-9)
        session.budget.step = typical
    return steps, recorder, chosen


def _run_facts(session: Session, steps: Steps, batch: Batch, chosen: Chosen | None) -> None:
    found, loss = session.found, session.loss
    facts = found.facts
    facts["differentiable"] = session.differentiable
    facts["own_optimizer"] = chosen is not None and (chosen.given or session.options.lr is not None)
    facts["initial_loss"] = steps.losses[0]
    known = loss is not None and loss.classes is not None
    found.fact("classes", loss.classes if known and loss else None, "the loss does not tell")
    expected = loss.expected if loss is not None else None
    why = "the loss does not tell how many classes there are" if not known else "other outputs are in the loss, too"
    found.fact("expected_initial_loss", expected, why)
    if steps.nonfinite_step is not None:
        facts["nonfinite_step"] = steps.nonfinite_step
        facts["nonfinite_input"] = steps.nonfinite_input
        why = "the outputs of all layers were finite in that step: the loss or a gradient was not"
        found.fact("nonfinite_layer", steps.nonfinite_layer, why)
        if steps.cause is not None:
            facts["nonfinite_op"] = steps.cause.op
            found.fact("nonfinite_line", steps.cause.line, "no code of the model's own calls that function")
        found.notes.append(f"step {steps.nonfinite_step + 1} was not finite, so no further step was run")
    del batch


def _run_series(series: dict[str, tuple[float | None, ...]], steps: Steps) -> dict[str, tuple[float | None, ...]]:
    joined = {"loss": tuple(steps.losses), **series, "seconds": tuple(steps.seconds)}
    if any(scale != 1.0 for scale in steps.scales):
        joined["loss_scale"] = tuple(steps.scales)
    else:
        joined.pop("loss_scale", None)
    return {key: values for key, values in joined.items() if any(value is not None for value in values)}


def _with_facts(layer: LayerMeasurements, found: Found) -> LayerMeasurements:
    own = found.layers.get(layer.name)
    return replace(layer, facts={**layer.facts, **own}) if own else layer


def _setup(session: Session, steps: Steps, batch: Batch, chosen: Chosen | None) -> dict[str, Any]:
    return {
        "device": str(session.device),
        "precision": session.precision.name,
        "steps": len(steps.losses),
        "batch_size": batch.size,
        "inputs": described(batch),
        "data": "given" if session.source.real else "random",
        "batches": session.source.count,
        "loss": session.loss.name if session.loss is not None else None,
        "optimizer": chosen.name if chosen is not None else None,
        "lr": chosen.lr if chosen is not None and math.isfinite(chosen.lr) else None,
        "seed": session.options.seed,
        "world_size": session.ranks.world_size,
        "torch": torch.__version__,
    }
