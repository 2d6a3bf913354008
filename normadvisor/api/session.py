"""One set of targets, from words to a report, with the worker processes that look at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from normadvisor.api.job import CONVERT, Job, Limits, Optimizing
from normadvisor.api.options import Checked, CheckOptions
from normadvisor.api.outcome import Outcome, report_of
from normadvisor.api.plan import Plan, Planner
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.scripts import Scripts
from normadvisor.api.selection import load_selected
from normadvisor.api.wanted import optimizing_seconds
from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.types import Finding, Location, Problem, Report

if TYPE_CHECKING:
    from normadvisor.api.pool import WorkerPool
    from normadvisor.api.static.check import Reading
    from normadvisor.rulebook import RuleBook
    from normadvisor.rulebook.model import Rule

__all__ = ["Session"]


class Session:
    """Targets whose files have been read and whose models are known; use it in a ``with`` statement, which ends its processes.

    What takes longest, importing torch in a process beside this one, begins first.

    Args:
        targets: as on the command line.
        find_settings: the settings that apply from a file or folder on; called once.
        options: how to run.
        progress: called for every file that is read.

    Raises:
        NormAdvisorError: the configuration, a rule or an option is wrong.

    """

    def __init__(
        self,
        targets: Sequence[str],
        find_settings: Callable[[Path], Settings],
        options: CheckOptions,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._stack = ExitStack()
        self._options = options
        self._pool: WorkerPool | None = None
        self._turns = 0
        with ExitStack() as failing:
            failing.callback(self.close)
            self._planner = Planner(texts=targets, cwd=Path.cwd())
            if not options.static and self._planner.needs_torch():
                self._pool = self._workers()
            self.settings = _rooted(find_settings(self._planner.start()), self._planner.cwd)
            if options.inputs:
                _check_inputs(options.inputs)
            if options.probing is not None:
                _check_probing(options.probing, self._planner.cwd)
            self._planner.check_not_empty(self.settings)
            self._book: RuleBook
            self.rules: Sequence[Rule]
            self._book, self.rules = load_selected(self.settings, replacements=options.optimizing is not None)
            if options.optimizing is not None:
                options = self._options = replace(options, optimizing=_allowed(options.optimizing, self.rules))
            self.scripts = Scripts(self._planner, self.settings, self.rules, options)
            self.scripts.read(progress)
            self.plan = self.scripts.plan()
            if self._runs and not (self.plan.jobs or self.plan.problems):
                self.plan.problems.append(_nothing_to_measure(targets, "probe" if options.optimizing is None else "optimize"))
            if options.optimizing is not None and options.optimizing.save is not None:
                _check_one_model(self.plan)
            failing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""
        self._stack.close()

    @property
    def _runs(self) -> bool:
        """Whether models are run with real weights."""
        return self._options.probing is not None or self._options.optimizing is not None

    def run(self, jobs: Sequence[Job], progress: ProgressCallback | None = None) -> list[list[Outcome]]:
        """Have workers look at models: for each job the outcomes of its models, in order."""
        if not jobs:
            return []
        self._pool = self._pool or self._workers()
        self._pool.limits = self._limits()
        if self._options.probing is not None:
            from normadvisor.api.ranked import ranked

            jobs, self._turns = ranked(jobs, self._turns), self._turns + 1
        return self._pool.run(jobs, self.rules, progress, keep_prints=self._options.debug)

    def checked(self, outcomes: Sequence[Sequence[Outcome]], reading: Reading | None = None) -> Checked:
        """The report of everything, suppressed findings marked.

        Args:
            outcomes: of the jobs of :attr:`plan`.
            reading: what reading the files gave; as they were at first when ``None``.

        Raises:
            ConfigError: the baseline cannot be read.

        """
        plan, settings = self.plan, self.settings
        report = self.scripts.report(plan, reading)
        if plan.jobs:
            traced = report_of([outcome for of_job in outcomes for outcome in of_job], debug=self._options.debug)
            report = self.scripts.joined(report, traced)
        options = self._options
        counted = [rule for rule in self.rules if (options.static_rules if rule.scope != "probe" else options.probing is not None)]
        report = _suppressed(_once(_of(report, counted)), plan, settings, self._book, counted, use_baseline=options.use_baseline)
        report = replace(report, probed=options.probing is not None, optimized=options.optimizing is not None)
        return Checked(report=report, settings=settings, rules={rule.id: rule for rule in self.rules})

    def _limits(self) -> Limits:
        limits = Limits(timeout=self.settings.timeout, memory=self.settings.memory)
        if not self._runs:
            return limits
        from normadvisor.api.threads import threads_to_use
        from normadvisor.api.wanted import wanted_budget

        # Measuring keeps its budget itself; a step that does not end is what this is for.
        if self._options.optimizing is not None:
            seconds = optimizing_seconds(self._options.optimizing.options, limits.timeout)
        else:
            seconds = _LATE * wanted_budget(self._options.probing or {}, self.settings) + limits.timeout
        return replace(limits, probing=seconds, threads=threads_to_use())

    def _workers(self) -> WorkerPool:
        from normadvisor.api import pool

        fork = self._options.fork
        if fork is None and self._runs and sys.platform == "darwin":
            fork = False  # Metal does not work in a process that was forked
        return self._stack.enter_context(pool.WorkerPool(jobs=self._options.jobs, fork=fork))


_LATE = 1.5
"""How often the budget of a measurement goes into the time after which it is ended from outside."""


def _allowed(wanted: Optimizing, rules: Sequence[Rule]) -> Optimizing:
    """What is wanted, without replacements of rules that the configuration ignores.

    Raises:
        UsageError: none is left.

    """
    allowed = [rule.id for rule in rules]
    chosen = tuple(rule for rule in wanted.options.rules or allowed if rule in allowed)
    if not chosen:
        raise UsageError("the configuration ignores all rules whose replacements are wanted", hint="see 'ignore' in the configuration")
    return replace(wanted, options=replace(wanted.options, rules=chosen))


def _check_one_model(plan: Plan) -> None:
    """Refuse to save several models into one file.

    Raises:
        UsageError: there are several.

    """
    names = [str(model.target) for job in plan.jobs for model in job.models]
    if len(names) > 1:
        some = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        raise UsageError(f"--save takes one model, and there are {len(names)}: {some}", hint=f"name one of them: {names[0]}")


def _nothing_to_measure(targets: Sequence[str], what: str) -> Problem:
    label = ", ".join(targets) or "the configuration"
    hint = "name one that builds without arguments, or file.py:Name(key=1)"
    return Problem(target=label, message=f"there is no model to {what}", hint=hint)


def _check_probing(flags: Mapping[str, Any], cwd: Path) -> None:
    """See whether the functions that flags name can be there, before anything is loaded.

    Raises:
        UsageError: they cannot.

    """
    from normadvisor.api.wanted import function_target, is_function

    for name in ("data", "loss"):
        text = flags.get(name)
        if text is not None and (name == "data" or is_function(text)):
            function_target(f"--{name}", text, cwd)


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


def _of(report: Report, rules: Sequence[Rule]) -> Report:
    """The report with what some rules found."""
    ids = {rule.id for rule in rules} | {CONVERT}
    return replace(report, findings=tuple(finding for finding in report.findings if finding.rule in ids))


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
        # What did not run this time may still be there.
        silent = set(book.rules) - {rule.id for rule in rules}
        baseline = baseline._replace(stale=tuple(entry for entry in baseline.stale if entry.rule not in silent))
        findings = baseline.findings
        if note := baseline.note(settings.baseline):
            notes.append(note)
    return replace(report, findings=tuple(findings), notes=tuple(notes), unused_noqa=_sorted(result.unused))


def _has_problem(job: Job, report: Report) -> bool:
    names = {job.label, *(str(model.target) for model in job.models)}
    return any(problem.target in names for problem in report.problems)


def _sorted(places: Sequence[Location]) -> tuple[Location, ...]:
    return tuple(sorted(places, key=lambda place: (place.path, place.cell or 0, place.line, place.column)))
