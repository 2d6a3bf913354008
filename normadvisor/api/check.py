"""Checks targets: the way from words to a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.job import Job, Limits
from normadvisor.api.outcome import report_of
from normadvisor.api.plan import Plan, Planner
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.scripts import Scripts
from normadvisor.api.selection import load_selected
from normadvisor.config import Settings, load_settings, parse_context
from normadvisor.types import Finding, Location, Report, RunContext

if TYPE_CHECKING:
    import torch

    from normadvisor.api.pool import WorkerPool
    from normadvisor.rulebook import RuleBook
    from normadvisor.rulebook.model import Rule

__all__ = ["CheckOptions", "Checked", "check", "run_check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How to run a check, beside what the settings say."""

    inputs: tuple[str, ...] = ()
    context: RunContext = field(default_factory=RunContext)
    show_graph: bool = False
    jobs: int | None = None
    """Models to check, and files to read, side by side; as many as there are CPUs, at most four, when ``None``."""
    fork: bool | None = None
    """Whether to fork workers; as the platform allows when ``None``."""
    debug: bool = False
    """Whether to tell what targets printed."""
    use_baseline: bool = True
    static: bool = False
    """Whether nothing may be imported or run: files are read, and no model is traced."""
    use_cache: bool = False
    """Whether what reading files gave is kept for the next run."""
    cache_dir: Path | None = None
    """Where; takes precedence over the environment and the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A report, and what rendering it needs."""

    report: Report
    settings: Settings
    rules: Mapping[str, Rule]
    """The rules that ran, by id."""


def check(
    targets: torch.nn.Module | str | Path | Sequence[str | Path],
    settings: Settings | None = None,
    *,
    inputs: Any = None,
    show_graph: bool = False,
    static: bool = False,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
    **context: Any,
) -> Report:
    """Check models.

    >>> report = check("model.py", batch_size=2, task="detection")  # doctest: +SKIP
    >>> report = check(model, inputs=["2x3x224x224"])  # doctest: +SKIP

    Args:
        targets: what the command line takes, one or several: these are loaded in worker processes. Or a ``torch.nn.Module`` of this
            process, which is traced here and left as it is.
        settings: the configuration; found as on the command line when ``None``.
        inputs: as ``--input`` takes them (``"2x3x224x224"``, ``"mask=2x16:bool"``), one or several; inferred when ``None``. For a module
            of this process also a tensor or a sequence of tensors.
        show_graph: whether to put a table of each graph into the report.
        static: whether nothing may be imported or run: files are read, and no model is traced.
        jobs: models to check, and files to read, side by side.
        progress: called at every step.
        context: how the models are trained: ``batch_size=2``, ``task="detection"`` ...

    Raises:
        NormAdvisorError: the configuration, a rule or the context is wrong. What is wrong with a target stands in ``problems``.

    """
    flags = parse_context(context)
    if not isinstance(targets, str | Path | Sequence):
        from normadvisor.api.live import check_module

        return check_module(targets, settings, inputs=inputs, context=flags, show_graph=show_graph)
    texts = [str(targets)] if isinstance(targets, str | Path) else [str(target) for target in targets]
    given = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
    options = CheckOptions(inputs=given, context=flags, show_graph=show_graph, static=static, jobs=jobs)
    found = (lambda _start: settings) if settings is not None else load_settings
    return run_check(texts, found, options, progress=progress).report


def run_check(
    targets: Sequence[str],
    find_settings: Callable[[Path], Settings],
    options: CheckOptions,
    *,
    progress: ProgressCallback | None = None,
) -> Checked:
    """Check targets, beginning with what takes longest: importing torch in a process beside this one.

    Args:
        targets: as on the command line.
        find_settings: the settings that apply from a file or folder on; called once.
        options: how to run.
        progress: called at every step.

    Raises:
        NormAdvisorError: the configuration, a rule or an option is wrong.

    """
    planner = Planner(texts=targets, cwd=Path.cwd())
    with ExitStack() as stack:

        def workers() -> WorkerPool:
            from normadvisor.api import pool

            return stack.enter_context(pool.WorkerPool(jobs=options.jobs, fork=options.fork))

        early = workers() if not options.static and planner.needs_torch() else None
        settings = _rooted(find_settings(planner.start()), planner.cwd)
        if options.inputs:
            _check_inputs(options.inputs)
        planner.check_not_empty(settings)
        book, rules = load_selected(settings)
        scripts = Scripts(planner, settings, rules, options)
        scripts.read(progress)
        plan = scripts.plan()
        if plan.jobs:
            early = early or workers()
        report = scripts.report(plan)
        if early is not None and plan.jobs:
            early.limits = Limits(timeout=settings.timeout, memory=settings.memory)
            outcomes = early.run(plan.jobs, rules, progress, keep_prints=options.debug)
            traced = report_of([outcome for of_job in outcomes for outcome in of_job], debug=options.debug)
            report = scripts.joined(report, traced)
    report = _suppressed(_once(report), plan, settings, book, rules, use_baseline=options.use_baseline)
    return Checked(report=report, settings=settings, rules={rule.id: rule for rule in rules})


def _rooted(settings: Settings, cwd: Path) -> Settings:
    """Without a configuration file, paths are relative to the working directory where the targets lie below it."""
    if settings.source is None and settings.root.resolve().is_relative_to(cwd.resolve()):
        return replace(settings, root=cwd)
    return settings


def _check_inputs(texts: Sequence[str]) -> None:
    """Parse inputs before anything is loaded.

    Raises:
        InputError: one of them is malformed.

    """
    from normadvisor.targets.inputs.spec import parse_input

    for text in texts:
        parse_input(text)


def _once(report: Report) -> Report:
    """Each event once: two models that share a layer's code report it in the same words, as does a rule that fails on every model."""
    findings: dict[Any, Finding] = {}
    for finding in report.findings:
        place = (finding.path, finding.cell, finding.line, finding.column)
        key = (finding.rule, *place, finding.message) if finding.path is not None else id(finding)
        findings.setdefault(key, finding)
    problems = {(problem.message, problem.location): problem for problem in reversed(report.problems)}
    notes = tuple(dict.fromkeys(report.notes))
    return replace(report, findings=tuple(findings.values()), problems=tuple(reversed(problems.values())), notes=notes)


def _suppressed(
    report: Report, plan: Plan, settings: Settings, book: RuleBook, rules: Sequence[Rule], *, use_baseline: bool
) -> Report:
    """Mark the findings that the configuration, a comment or the baseline silences.

    Raises:
        ConfigError: the baseline cannot be read.

    """
    from normadvisor.suppress import apply_noqa

    findings: Sequence[Finding] = report.findings
    if settings.per_file_ignores:
        from normadvisor.suppress import apply_per_file_ignores

        findings = apply_per_file_ignores(findings, settings.per_file_ignores, root=settings.root)
    incomplete = {job.models[0].target.path for job in plan.jobs if _has_problem(job, report)} if report.problems else set()
    files = [path for path in plan.files if path not in incomplete]
    result = apply_noqa(findings, ran=[rule.id for rule in rules], known=list(book.rules), files=files, root=settings.root)
    findings, notes = result.findings, [*report.notes, *result.notes]
    if settings.baseline is not None and use_baseline:
        from normadvisor.suppress import Baseline

        baseline = Baseline.load(settings.baseline).apply(findings, root=settings.root, files=files)
        findings = baseline.findings
        if note := baseline.note(settings.baseline):
            notes.append(note)
    return replace(report, findings=tuple(findings), notes=tuple(notes), unused_noqa=_sorted(result.unused))


def _has_problem(job: Job, report: Report) -> bool:
    names = {job.label, *(str(model.target) for model in job.models)}
    return any(problem.target in names for problem in report.problems)


def _sorted(places: Sequence[Location]) -> tuple[Location, ...]:
    return tuple(sorted(places, key=lambda place: (place.path, place.cell or 0, place.line, place.column)))


