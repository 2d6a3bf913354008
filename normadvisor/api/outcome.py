"""What came of one model, as the parent keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from normadvisor.api.job import Job
from normadvisor.api.wire import (
    read_finding,
    read_key_map,
    read_measurements,
    read_optimization,
    read_problem,
    read_proof,
    read_summary,
    read_withdrawn,
)
from normadvisor.types import Finding, Measurements, ModelSummary, Problem, Report, TraceKind, Withdrawn
from normadvisor.types.optimization import Optimization

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.proof.result import Proof

__all__ = ["MAX_LINES", "MAX_NAMES", "Outcome", "outcome_of", "report_of", "unusable"]

MAX_LINES = 6
"""Lines about inferred inputs."""
MAX_NAMES = 4
"""Models named in one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model's part of the report, and what its code printed."""

    summary: ModelSummary
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    inferred: str | None = None
    """Where inputs that nobody gave come from."""
    table: str | None = None
    problems: tuple[Problem, ...] = ()
    printed_lines: int = 0
    printed: str = ""
    proof: Proof | None = None
    """What comparing the model with that before the edits gave; ``None`` where it was not compared."""
    key_map: KeyMap | None = None
    """How the keys of its state differ from those before."""
    unchanged: bool = False
    """Whether it was not compared because the edits are plainly not about it."""
    files: tuple[str, ...] = ()
    """Files below the root that were imported, where that was asked."""
    ended_in: str = ""
    """The phase in which its worker ended without an answer."""
    measurements: Measurements | None = None
    """What was measured; ``None`` where nothing was."""
    withdrawn: tuple[Withdrawn, ...] = ()
    """Findings that measurements contradict."""
    optimization: Optimization | None = None
    """What came of optimizing it; ``None`` where that was not asked, or it could not be done."""

    def failed_later(self, problem: Problem, phase: str) -> Self:
        """The same, where the worker ended after this was found."""
        return replace(self, problems=(*self.problems, problem), ended_in=phase)

    def with_prints(self, lines: int, text: str) -> Self:
        """The same, with what was printed."""
        return replace(self, printed_lines=max(1, lines), printed=text)


def unusable(problem: Problem, phase: str = "") -> Outcome:
    """The outcome for a model that could not be checked, and the phase in which its worker ended, if it did."""
    summary = ModelSummary(target=problem.target, trace=TraceKind.NONE, error=problem.message)
    return Outcome(summary=summary, problems=(problem,), ended_in=phase)


def outcome_of(message: Mapping[str, Any], job: Job, index: int) -> Outcome:
    """Read a worker's answer about one model; an answer that cannot be read is a problem of that model."""
    target = str(job.models[index].target)
    try:
        outcome = Outcome(
            summary=read_summary(message["summary"]),
            findings=tuple(read_finding(item) for item in message["findings"]),
            notes=tuple(str(note) for note in message["notes"]),
            inferred=None if message["inferred"] is None else str(message["inferred"]),
            table=None if message["table"] is None else str(message["table"]),
            problems=tuple(read_problem(item) for item in message["problems"]),
            proof=None if message["proof"] is None else read_proof(message["proof"]),
            key_map=None if message["key_map"] is None else read_key_map(message["key_map"]),
            unchanged=message["unchanged"] is True,
            files=tuple(str(path) for path in message["files"]),
            measurements=None if message["measurements"] is None else read_measurements(message["measurements"]),
            withdrawn=tuple(read_withdrawn(item) for item in message["withdrawn"]),
            optimization=None if message["optimization"] is None else read_optimization(message["optimization"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"the worker's answer about {target} cannot be read"
        return unusable(Problem(target=target, message=reason, details=f"{type(error).__name__}: {error}"))
    if message.get("import_failed") and job.label != target:
        return _about_the_file(outcome, job.label, target)
    return outcome


def _about_the_file(outcome: Outcome, label: str, target: str) -> Outcome:
    """A file that cannot be imported is one problem, whichever of its models was asked for first."""
    problems = tuple(replace(problem, target=label, message=problem.message.replace(target, label)) for problem in outcome.problems)
    error = problems[0].message if problems else outcome.summary.error
    return replace(outcome, summary=replace(outcome.summary, target=label, error=error), problems=problems)


def report_of(outcomes: list[Outcome], *, debug: bool = False) -> Report:
    """Join the outcomes of all models, in order."""
    notes = list(_inferred(outcomes))
    for outcome in outcomes:
        notes += [f"{outcome.summary.target}: {note}" for note in outcome.notes]
        if debug and outcome.printed_lines:
            plural = "" if outcome.printed_lines == 1 else "s"
            notes.append(f"{outcome.summary.target}: printed {outcome.printed_lines} line{plural}:\n{outcome.printed}")
    return Report(
        findings=tuple(finding for outcome in outcomes for finding in outcome.findings),
        models=tuple(outcome.summary for outcome in outcomes),
        problems=tuple(problem for outcome in outcomes for problem in outcome.problems),
        notes=tuple(notes),
        graphs=tuple(outcome.table for outcome in outcomes if outcome.table is not None),
        measurements=tuple(found for outcome in outcomes if (found := _with_inputs(outcome)) is not None),
        withdrawn=tuple(item for outcome in outcomes for item in outcome.withdrawn),
        optimizations=tuple(outcome.optimization for outcome in outcomes if outcome.optimization is not None),
    )


def _with_inputs(outcome: Outcome) -> Measurements | None:
    """The measurements with what they were made on, and where that comes from, as their first note."""
    found = outcome.measurements
    if found is None or not (shape := found.setup.get("inputs")):
        return found
    if found.setup.get("data") == "given":
        words = "from the data"
    elif outcome.inferred is None:
        words = "drawn; the shape was given"
    else:
        words = "drawn; the shape was inferred" + (f" from {outcome.inferred}" if outcome.inferred else "")
    return replace(found, notes=(f"inputs: {shape}, {words}", *found.notes))


def _inferred(outcomes: list[Outcome]) -> Iterator[str]:
    """What was inferred: a line for each model where they are few, else one for all that got the same inputs."""
    targets: dict[tuple[str | None, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.inferred is not None:
            targets.setdefault((outcome.summary.inputs, outcome.inferred), []).append(outcome.summary.target)
    groups = sorted(targets.items(), key=lambda group: -len(group[1])) if len(targets) > MAX_LINES else list(targets.items())
    for (inputs, why), names in groups[:MAX_LINES]:
        because = f": {why}" if why else ""
        said = f"inputs {inputs} were inferred" if inputs else "no inputs are needed"
        if len(names) == 1:
            yield f"{names[0]}: {said}{because}"
        else:
            more = f" and {_more_models(len(names) - MAX_NAMES)}" if len(names) > MAX_NAMES else ""
            yield f"{said} for {', '.join(names[:MAX_NAMES])}{more}{because}"
    if hidden := sum(len(names) for _, names in groups[MAX_LINES:]):
        yield f"inputs of {_more_models(hidden)} were inferred (--format json tells which)"


def _more_models(count: int) -> str:
    return f"{count} more model{'' if count == 1 else 's'}"
