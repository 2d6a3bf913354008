"""Looks at one model in this process: inputs, graph, findings. Imports torch; in the worker, and for live models."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.errors import InputError, NormAdvisorError, TargetError, TraceError
from normadvisor.graph import look_for_written, trace
from normadvisor.match import match
from normadvisor.rulebook.reads import read_written
from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.types import Finding, Measurements, ModelSummary, Problem, RunContext, Site, TraceKind, Withdrawn

if TYPE_CHECKING:
    import torch

    from normadvisor.api.edits import EditWriter
    from normadvisor.api.job import Conversion
    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.proof.result import Proof
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.build import Built
    from normadvisor.targets.inputs import Inputs
    from normadvisor.types.optimization import Optimization

__all__ = ["Examined", "Traced", "examine", "failed", "matched", "problem_of", "trace_built", "traced", "untraced", "with_problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What came of one model."""

    summary: ModelSummary
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    inferred: str | None = None
    """Where inputs that nobody gave come from."""
    table: str | None = None
    problems: tuple[Problem, ...] = ()
    proof: Proof | None = None
    """What comparing it with the model before gave; ``None`` where it was not compared."""
    key_map: KeyMap | None = None
    """How the keys of its state differ from those before; ``None`` where that was not asked."""
    unchanged: bool = False
    """Whether it was not compared because the edits are plainly not about it."""
    files: tuple[str, ...] = ()
    """Files below the root that were imported, where that was asked."""
    measurements: Measurements | None = None
    """What was measured; ``None`` where nothing was."""
    withdrawn: tuple[Withdrawn, ...] = ()
    """Findings that measurements contradict."""
    optimization: Optimization | None = None
    """What came of optimizing it; ``None`` where that was not asked."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A graph, and what it was traced with."""

    inputs: Inputs | None
    """``None`` where none fit, so that there are no shapes."""
    graph: ModelGraph
    notes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Subject:
    """The model being looked at."""

    model: torch.nn.Module
    target: str
    sites: Mapping[str, Site] = field(default_factory=dict)
    defined_at: Site | None = None


def examine(  # noqa: PLR0913 - what is known about a model, each by its name
    model: torch.nn.Module,
    rules: Sequence[Rule],
    *,
    target: str,
    inputs: Sequence[str] = (),
    context: RunContext,
    root: Path,
    sites: Mapping[str, Site] | None = None,
    defined_at: Site | None = None,
    show_graph: bool = False,
    phase: Callable[[str], None] = lambda _name: None,
    edits: EditWriter | None = None,
    conversion: Conversion | None = None,
    known: Traced | None = None,
) -> Examined:
    """Trace a built model and match the rules.

    Args:
        model: the model, in train mode; its code runs.
        rules: rules of scope ``graph``.
        target: how the model is called in the report.
        inputs: as ``--input`` takes them; inferred when empty.
        context: what is known about the training.
        root: findings point into files below it when they can.
        sites: where modules were constructed, by qualified name.
        defined_at: where the model's class or factory stands.
        show_graph: whether to render the graph as a table.
        phase: told ``tracing``, ``matching`` and ``writing`` as they begin.
        edits: writes the fixes of findings as edits of source; they stay without when ``None``.
        conversion: what to report beside the findings of the rules.
        known: its trace, where it was traced already.

    Raises:
        NormAdvisorError: malformed inputs, a model that cannot be traced, or a rule that fails on it.

    """
    if known is None:
        phase("tracing")
    found = known or traced(model, target=target, inputs=inputs, context=context, sites=sites, defined_at=defined_at)
    chosen, graph, notes = found.inputs, found.graph, found.notes
    phase("matching")
    summary = ModelSummary(
        target=target, trace=graph.trace, inputs=None if chosen is None else chosen.spec, modules=len(graph.modules), nodes=len(graph.nodes)
    )
    findings = matched(graph, model, rules, context, root)
    if conversion is not None:
        from normadvisor.api.conversion import conversion_findings

        findings += conversion_findings(graph, conversion, root)
    if edits is not None:
        findings = edits.written(findings, graph, model, root, phase)
    table = None
    if show_graph:
        from normadvisor.graph import render_table

        table = render_table(graph)
    inferred = None if chosen is None or chosen.given else chosen.why
    return Examined(summary=summary, findings=tuple(findings), notes=(*notes, *graph.notes), inferred=inferred, table=table)


def matched(graph: ModelGraph, model: torch.nn.Module, rules: Sequence[Rule], context: RunContext, root: Path) -> list[Finding]:
    """Match rules to the trace of a model, and find out first what they ask for that a trace does not hold.

    Args:
        graph: of ``model``; gets further attributes where a rule asks for them.
        model: in the mode in which it was traced.
        rules: of scope ``graph``.
        context: what is known about the training.
        root: findings point into files below it when they can.

    Raises:
        NormAdvisorError: a rule fails on the model.

    """
    if read_written(rules):
        look_for_written(graph, model)
    return match(graph, rules, context, root)


def trace_built(
    built: Built, *, target: str, inputs: Sequence[str], context: RunContext, batch: Inputs | None = None
) -> Traced:
    """Trace what a target built; see :func:`traced`."""
    return traced(built.model, target=target, inputs=inputs, context=context, sites=built.sites, defined_at=built.defined_at, batch=batch)


def traced(
    model: torch.nn.Module,
    *,
    target: str,
    inputs: Sequence[str],
    context: RunContext,
    sites: Mapping[str, Site] | None = None,
    defined_at: Site | None = None,
    batch: Inputs | None = None,
) -> Traced:
    """Trace a built model; the arguments are those of :func:`examine`.

    ``batch`` is one of the batches that it is trained with; where it does not fit, inputs are inferred as without it.

    Raises:
        NormAdvisorError: malformed inputs, or a model that cannot be traced.

    """
    subject = _Subject(model=model, target=target, sites=sites or {}, defined_at=defined_at)
    if batch is not None and not inputs:
        with suppress(TraceError):
            return Traced(batch, _trace(subject, batch), ())
    return Traced(*_trace_with_inputs(subject, inputs, context))


def _trace_with_inputs(
    subject: _Subject, specs: Sequence[str], context: RunContext
) -> tuple[Inputs | None, ModelGraph, tuple[str, ...]]:
    """The first candidate inputs that the model takes, and the graph they give; a graph without shapes when none fits."""
    candidates = candidate_inputs(subject.model, [parse_input(text) for text in specs], context)
    try:
        candidate = next(candidates)
        while True:
            try:
                graph = _trace(subject, candidate)
            except TraceError as error:
                candidate = candidates.send(error.__cause__ or error)
            else:
                return candidate, graph, ()
    except StopIteration as end:
        raise InputError(f"no inputs for {subject.target} could be inferred", hint="say them with --input 2x3x224x224") from end
    except InputError as error:
        if specs:
            raise
        return None, *_without_shapes(subject, error)


def _trace(subject: _Subject, inputs: Inputs | None) -> ModelGraph:
    return trace(subject.model, inputs, target=subject.target, sites=subject.sites, defined_at=subject.defined_at)


def _without_shapes(subject: _Subject, error: InputError) -> tuple[ModelGraph, tuple[str, ...]]:
    """The symbolic graph without shapes, where there is one.

    Raises:
        InputError: there is none.

    """
    try:
        graph = _trace(subject, None)
    except TraceError:
        raise error from error.__cause__
    hint = f" ({error.hint})" if error.hint else ""
    where = f", at {Path(error.location.path).name}:{error.location.line}" if error.location else ""
    return graph, (f"traced without shapes, so rules that need them are silent: {error.brief}{where}{hint}",)


def problem_of(error: BaseException, target: str) -> Problem:
    """An error about one model as an entry of the report."""
    details = "".join(traceback.format_exception(error))
    more = "raise the limit with --memory, or name a smaller configuration" if _ran_out_of_memory(error) else None
    if isinstance(error, NormAdvisorError):
        return Problem(target=target, message=error.message, location=error.location, hint=error.hint or more, details=details)
    if isinstance(error, SystemExit):
        return Problem(target=target, message=f"forward of {target} called sys.exit({error.code!r})", details=details)
    words = str(error).strip().splitlines()
    message = f"{target} raised {type(error).__name__}{': ' + words[0][:300] if words else ''}"
    return Problem(target=target, message=message, hint=more, details=details)


_NO_MEMORY = ("can't allocate memory", "can't start new thread")
"""Words of torch's allocator, and of Python where there is no room for the stack of a thread."""


def with_problem(examined: Examined, error: BaseException, target: str, phase: str) -> Examined:
    """What was found before something went wrong in a phase of the work, with that as a problem."""
    problem = problem_of(error, target)
    if not isinstance(error, NormAdvisorError):
        problem = replace(problem, message=problem.message.replace(f"{target} raised", f"{phase} {target} raised", 1))
    return replace(examined, problems=(*examined.problems, problem))


def _ran_out_of_memory(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may have been raised from itself
        seen.add(id(error))
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            return True
        error = error.__cause__
    return False


def failed(target: str, problem: Problem) -> Examined:
    """The result for a model that could not be checked."""
    summary = ModelSummary(target=target, trace=TraceKind.NONE, error=problem.message)
    return Examined(summary=summary, problems=(problem,))


def untraced(target: str, error: TargetError) -> Examined:
    """The result for a model that cannot be traced, though perhaps measured."""
    summary = ModelSummary(target=target, trace=TraceKind.NONE)
    hint = f" ({error.hint})" if error.hint else ""
    words = error.brief if isinstance(error, InputError) else error.message
    return Examined(summary=summary, notes=(f"it was not traced, so rules about its structure are silent: {words}{hint}",))
