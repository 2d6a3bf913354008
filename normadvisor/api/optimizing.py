"""Builds a target once more with its weights, and optimizes it. In the worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.batched import with_batch
from normadvisor.api.examine import Examined, problem_of, with_problem
from normadvisor.api.job import OPTIMIZING, ModelJob, Optimizing
from normadvisor.api.measure import place
from normadvisor.api.replaced import findings_of
from normadvisor.errors import InputError
from normadvisor.targets.build import build_real
from normadvisor.types import Problem

if TYPE_CHECKING:
    from normadvisor.api.examine import Traced
    from normadvisor.api.probing import Worker
    from normadvisor.optimization.run import Optimized
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.load import Loaded
    from normadvisor.types.optimization import Optimization

__all__ = ["optimized"]


def optimized(  # noqa: PLR0917 - what is known of one model, and who is told
    job: ModelJob, wanted: Optimizing, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    """What came of a model, with what optimizing it gave.

    Args:
        job: the model.
        wanted: how it is optimized.
        loaded: what its target names; imported in real memory.
        examined: what came of tracing it.
        known: its trace.
        rules: about replacements.
        worker: is told how far the work is.

    Returns:
        Where it cannot be optimized, what was found before with a problem that says why.

    """
    name = str(job.target)
    try:
        return _optimized(job, wanted, loaded, examined, known, rules, worker)
    except BaseException as error:  # noqa: BLE001 - the target's code may raise anything
        return with_problem(examined, error, name, OPTIMIZING)


def _optimized(  # noqa: PLR0917 - as above
    job: ModelJob, wanted: Optimizing, loaded: Loaded, examined: Examined, known: Traced | None, rules: Sequence[Rule], worker: Worker
) -> Examined:
    from normadvisor.optimization.prepared import Subject
    from normadvisor.optimization.run import optimize_model

    options, name = wanted.options, str(job.target)
    if known is None or known.inputs is None:
        raise InputError(f"no inputs for {name} could be inferred, and it has to be run", hint="say them with --input 2x3x224x224")
    worker.phase("building")
    built = build_real(loaded, seed=options.seed)
    worker.phase(OPTIMIZING)
    model = place(built.model, options.device)
    real = known.inputs.on("cpu")
    inputs = with_batch(tuple(real.args), real.kwargs, options.batch_size, given=known.inputs.given)
    spec = known.inputs.spec if options.batch_size is None else inputs.spec
    subject = Subject(model=model, inputs=inputs, target=name, spec=spec, sites=built.sites, defined_at=built.defined_at)
    result = optimize_model(subject, options, told=lambda what, _done, _total: worker.part(what))
    report = replace(result.optimization, notes=(*built.notes, *result.optimization.notes))
    unsaved: list[Problem] = []
    if wanted.save is not None:
        worker.part("saving it")
        unsaved += _saved(result, wanted.save, name)
        report = report if unsaved else replace(report, saved=str(wanted.save))
    findings, withdrawn = findings_of(report, rules, known.graph, job.root)
    problems = (*examined.problems, *_unmeasured(report), *unsaved)
    return replace(examined, findings=findings, withdrawn=withdrawn, optimization=report, problems=problems)


def _saved(result: Optimized, path: Path, name: str) -> Iterator[Problem]:
    """Save a model; that it cannot be is a problem, and takes nothing away from what was measured."""
    from normadvisor.optimization.saving import save

    try:
        save(result, path)
    except Exception as error:  # noqa: BLE001 - the state of a model may be computed by code of the target
        problem = problem_of(error, name)
        message = f"it was optimized, and could not be saved: {problem.message.removeprefix(f'{name} raised ')}"
        yield replace(problem, message=message)


def _unmeasured(report: Optimization) -> Iterator[Problem]:
    """That nothing could be measured, where there was something to measure."""
    reasons = [row.reason for row in report.replacements]
    if reasons and all(row.verdict == "not measured" for row in report.replacements):
        hint = "try again when it is idle, or say --allow-busy" if any("is busy" in reason for reason in reasons) else None
        yield Problem(target=report.target, message=f"nothing could be measured: {reasons[0]}", hint=hint)
