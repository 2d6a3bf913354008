"""Builds a target once more with its weights, and measures it. In the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from normadvisor.api.examine import Examined, problem_of
from normadvisor.api.job import LOADING_DATA, PROBING, ModelJob
from normadvisor.api.measure import Subject, measure, place
from normadvisor.errors import NormAdvisorError
from normadvisor.targets.build import build_real

if TYPE_CHECKING:
    from normadvisor.api.examine import Traced
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.load import Loaded

__all__ = ["Worker", "probed"]


@dataclass(frozen=True, slots=True)
class Worker:
    """What the worker gives to those who work in it."""

    phase: Callable[[str], None]
    """Told each phase as it begins."""
    part: Callable[[str], None]
    """Told what is being done within a phase."""


def probed(
    job: ModelJob, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    """What was found before, and what measuring the model adds to it.

    Args:
        job: the model, and how to measure it.
        loaded: what its target names; imported in real memory.
        examined: what came of it without running it.
        known: its trace; ``None`` where it could not be traced.
        rules: of any scope.
        worker: is told how far the work is.

    Returns:
        Where it cannot be measured, what was found before with a problem that says why.

    """
    name = str(job.target)
    try:
        return _probed(job, loaded, examined, known, rules, worker)
    except NormAdvisorError as error:
        return replace(examined, problems=(*examined.problems, problem_of(error, name)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the target's code may raise anything
        problem = problem_of(error, name)
        message = problem.message.replace(f"{name} raised", f"{PROBING} {name} raised", 1)
        return replace(examined, problems=(*examined.problems, replace(problem, message=message)))


def _probed(
    job: ModelJob, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    from normadvisor.targets.functions import load_batches, load_loss

    name, probing = str(job.target), job.probing
    if probing is None:
        raise AssertionError  # the caller asks for it
    loss_fn = None if probing.loss is None else load_loss(probing.loss)
    batches = None
    if probing.data is not None:
        worker.phase(LOADING_DATA)
        batches = load_batches(probing.data)
    worker.phase("building")
    built = build_real(loaded, seed=probing.options.seed)
    worker.phase(PROBING)
    model = place(built.model, probing.options.device)

    def told(what: str, done: int, total: int) -> None:
        worker.part(f"{what} {done} of {total}" if total else what)

    subject = Subject(
        model=model, target=name, context=job.context, root=job.root, graph=None if known is None else known.graph,
        inputs=None if known is None or known.inputs is None else known.inputs.on("cpu"), batches=batches, loss_fn=loss_fn,
        sites=built.sites, defined_at=built.defined_at,
    )  # fmt: skip
    found = measure(subject, probing.options, rules, static=examined.findings, told=told)
    measurements = replace(found.measurements, notes=(*built.notes, *found.measurements.notes))
    return replace(
        examined, findings=found.findings, measurements=measurements, withdrawn=found.withdrawn
    )
