"""Builds a target once more with its weights, and measures it. In the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from normadvisor.api.batch_inputs import inputs_of
from normadvisor.api.examine import Examined, problem_of, with_problem
from normadvisor.api.job import LOADING_DATA, PROBING, ModelJob, Probing
from normadvisor.api.measure import Subject, measure, place
from normadvisor.api.on_ranks import device_on
from normadvisor.errors import NormAdvisorError
from normadvisor.targets.build import build_real
from normadvisor.targets.functions import UserBatches, load_batches, load_loss
from normadvisor.types import ProbeOptions, Problem

if TYPE_CHECKING:
    import torch

    from normadvisor.api.examine import Traced
    from normadvisor.probe.distributed import Ranks
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.inputs import Inputs
    from normadvisor.targets.load import Loaded

__all__ = ["Prepared", "Worker", "probed"]


@dataclass(frozen=True, slots=True)
class Worker:
    """What the worker gives to those who work in it."""

    phase: Callable[[str], None]
    """Told each phase as it begins."""
    part: Callable[[str], None]
    """Told what is being done within a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the user's own functions gave."""

    options: ProbeOptions
    batches: UserBatches | None = None
    loss_fn: Callable[..., Any] | None = None
    problem: Problem | None = None
    """Why one of them gave nothing."""
    ranks: Ranks | None = None
    """With whom the model is measured."""

    @classmethod
    def of(cls, probing: Probing, name: str, phase: Callable[[str], None], ranks: Ranks | None = None) -> Prepared:
        """Call them.

        Args:
            probing: names them.
            name: of the model, for the problem.
            phase: told each phase as it begins.
            ranks: with whom the model is measured; each gets batches of its own.

        """
        try:
            batches = None
            if probing.data is not None:
                phase(LOADING_DATA)
                batches = load_batches(probing.data)
                if ranks is not None:
                    batches.share(ranks.rank, ranks.world_size)
                batches.first()
            loss_fn = None if probing.loss is None else load_loss(probing.loss)
        except NormAdvisorError as error:
            return cls(options=probing.options, problem=problem_of(error, name))
        return cls(options=probing.options, batches=batches, loss_fn=loss_fn, ranks=ranks)

    def inputs(self, model: torch.nn.Module) -> Inputs | None:
        """What goes to the model from the first batch; ``None`` where there is none."""
        return None if self.batches is None else inputs_of(self.batches.first(), model)


def probed(  # noqa: PLR0917 - what is known of one model, and who is told
    job: ModelJob, prepared: Prepared, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    """What was found before, and what measuring the model adds to it.

    Args:
        job: the model, and how to measure it.
        prepared: its batches and its loss.
        loaded: what its target names; imported in real memory.
        examined: what came of it without running it.
        known: its trace; ``None`` where it could not be traced.
        rules: of any scope.
        worker: is told how far the work is.

    Returns:
        Where it cannot be measured, what was found before with a problem that says why.

    """
    from normadvisor.probe.distributed import ALONE

    name = str(job.target)
    if prepared.problem is not None:
        return replace(examined, problems=(*examined.problems, prepared.problem))
    try:
        with ALONE.telling() if prepared.ranks is None else prepared.ranks.telling():
            return _probed(job, prepared, loaded, examined, known, rules, worker)
    except BaseException as error:  # noqa: BLE001 - the target's code may raise anything
        return with_problem(examined, error, name, PROBING)


def _probed(  # noqa: PLR0917 - as above
    job: ModelJob, prepared: Prepared, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    name, options = str(job.target), prepared.options
    worker.phase("building")
    built = build_real(loaded, seed=options.seed)
    worker.phase(PROBING)
    model = place(built.model, options.device if job.meeting is None else device_on(job.meeting, job))
    if prepared.ranks is not None:
        prepared.ranks.same_weights(model)

    def told(what: str, done: int, total: int) -> None:
        worker.part(f"{what} {done} of {total}" if total else what)

    subject = Subject(
        model=model, target=name, context=job.context, root=job.root, graph=None if known is None else known.graph,
        inputs=None if known is None or known.inputs is None else known.inputs.on("cpu"), batches=prepared.batches,
        loss_fn=prepared.loss_fn, sites=built.sites, defined_at=built.defined_at, ranks=prepared.ranks,
    )  # fmt: skip
    found = measure(subject, options, rules, static=examined.findings, told=told)
    measurements = replace(found.measurements, notes=(*built.notes, *found.measurements.notes))
    return replace(examined, findings=found.findings, measurements=measurements, withdrawn=found.withdrawn)
