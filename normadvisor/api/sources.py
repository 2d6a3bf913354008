"""Checks programs given as text: the examples of rules."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.job import Job, Limits, ModelJob, Probing
from normadvisor.api.outcome import report_of
from normadvisor.api.plan import problem_from
from normadvisor.api.pool import WorkerPool
from normadvisor.api.survey import FileSurvey, Survey
from normadvisor.errors import NormAdvisorError
from normadvisor.files.source import read_source
from normadvisor.targets.parse import Target, TargetKind, parse_target
from normadvisor.types import LOSSES, Fix, ProbeOptions, Problem, Report, RunContext

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["SourceJob", "check_source", "check_sources"]

FILE = "example.py"
"""Name of the file that a program is written to; findings carry it as their path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceJob:
    """A program to check."""

    code: str
    """Python source of a file."""
    rules: Sequence[Rule]
    """Rules to run, without regard to any configuration."""
    model: str | None = None
    """Class, factory or call with literals in ``code``; every model that is found when ``None``."""
    inputs: Sequence[str] = ()
    """As ``--input`` takes them; inferred when empty."""
    context: RunContext = field(default_factory=RunContext)
    """Takes precedence over comments in ``code``."""
    script: bool = False
    """Read it as a script, with the rules that look at scripts: nothing in it is imported or run."""
    probing: ProbeOptions | None = None
    """How its models are measured; they are not when ``None``. ``data`` and ``loss`` may name functions in ``code``."""


def check_source(
    code: str,
    *,
    rules: Sequence[Rule],
    model: str | None = None,
    inputs: Sequence[str] = (),
    context: RunContext | None = None,
    script: bool = False,
    probing: ProbeOptions | None = None,
) -> Report:
    """Check one program; see :class:`SourceJob`. For several use :func:`check_sources`, which imports torch once."""
    job = SourceJob(code=code, rules=rules, model=model, inputs=inputs, context=context or RunContext(), script=script, probing=probing)
    return check_sources([job])[0]


def check_sources(jobs: Sequence[SourceJob], *, limits: Limits | None = None, workers: int | None = None) -> list[Report]:
    """Check programs, each in a process of its own; those that are scripts are read in this one.

    Args:
        jobs: the programs.
        limits: what each may use up.
        workers: processes side by side; as :func:`normadvisor.api.pool.default_jobs` when ``None``.

    Returns:
        One report for each program, in order. Paths in it are ``example.py``; what is wrong with a program stands in ``problems``.

    """
    scripts = {position: _read(job) for position, job in enumerate(jobs) if job.script}
    traced = iter(_traced([job for job in jobs if not job.script], limits, workers))
    return [scripts[position] if position in scripts else next(traced) for position in range(len(jobs))]


def _read(job: SourceJob) -> Report:
    """The report on a program that is read as a script."""
    from normadvisor.match import match_script
    from normadvisor.script import analyze
    from normadvisor.script.project.modules import Project

    with tempfile.TemporaryDirectory(prefix="normadvisor-") as folder:
        place = Path(folder).resolve()
        path = place / FILE
        path.write_text(job.code, encoding="utf-8", newline="")
        try:
            project = Project([place])
            script = analyze(path, project)
            findings = match_script(script, job.rules, job.context, root=place, modules=project)
        except NormAdvisorError as error:
            return _relative(Report(problems=(problem_from(error, FILE),)), f"{place}/")
        problems = tuple(Problem(message=item.message, location=item.location, hint=item.hint, target=FILE) for item in script.problems)
        return _relative(Report(findings=tuple(findings), problems=problems), f"{place}/")


def _traced(jobs: Sequence[SourceJob], limits: Limits | None, workers: int | None) -> list[Report]:
    """Reports on programs whose models are built and traced."""
    if not jobs:
        return []
    # Numbers are the same on one thread, and many small programs are done sooner side by side.
    limits = limits or Limits(threads=1, side_by_side=True)
    with WorkerPool(limits, jobs=workers) as pool, tempfile.TemporaryDirectory(prefix="normadvisor-") as folder:
        rules: dict[int, Rule] = {id(rule): rule for job in jobs for rule in job.rules}
        positions = {key: index for index, key in enumerate(rules)}
        planned: list[Job | Report] = []
        for number, job in enumerate(jobs):
            place = Path(folder).resolve() / str(number)
            place.mkdir()
            planned.append(_plan(job, place, tuple(positions[id(rule)] for rule in job.rules)))
        outcomes = iter(pool.run([item for item in planned if isinstance(item, Job)], list(rules.values())))
        reports = []
        for number, item in enumerate(planned):
            report = item if isinstance(item, Report) else report_of(next(outcomes))
            reports.append(_relative(report, f"{Path(folder).resolve() / str(number)}/"))
    return reports


def _plan(job: SourceJob, place: Path, rules: tuple[int, ...]) -> Job | Report:
    """The worker's job for a program, or the report that says why there is none."""
    path = place / FILE
    path.write_text(job.code, encoding="utf-8", newline="")
    try:
        survey = FileSurvey(read_source(path))
        targets = [parse_target(f"{FILE}:{job.model}", place)] if job.model else _found(survey, path)
        models = [
            ModelJob(
                target=target, inputs=tuple(job.inputs), root=place,
                context=survey.context_of(target.name.partition(".")[0]).merged(job.context), probing=_probing(job, place),
            )
            for target in targets
        ]  # fmt: skip
    except NormAdvisorError as error:
        return Report(problems=(problem_from(error, FILE),))
    return Job(label=FILE, models=tuple(models), rules=rules, cwd=place) if models else Report()


def _probing(job: SourceJob, place: Path) -> Probing | None:
    options = job.probing
    if options is None:
        return None
    texts = {"data": options.data, "loss": None if options.loss in LOSSES else options.loss}
    functions = {
        name: None if text is None else parse_target(text if ":" in text else f"{FILE}:{text}", place) for name, text in texts.items()
    }
    return Probing(options=options, **functions)


def _found(survey: Survey, path: Path) -> list[Target]:
    return [Target(text=f"{FILE}:{item.name}", kind=TargetKind.OBJECT, path=path, name=item.name) for item in survey.candidates]


def _relative(report: Report, folder: str) -> Report:
    """The report with paths inside the temporary folder cut to what the author of the program knows."""

    def cut(problem: Problem) -> Problem:
        place = problem.location
        location = place and replace(place, path=place.path.removeprefix(folder))
        return replace(problem, message=problem.message.replace(folder, ""), location=location)

    def mended(fix: Fix) -> Fix:
        return replace(fix, edits=tuple(replace(edit, path=edit.path.removeprefix(folder)) for edit in fix.edits))

    findings = [
        replace(
            finding,
            path=finding.path and finding.path.removeprefix(folder),
            related=tuple(replace(place, path=place.path.removeprefix(folder)) for place in finding.related),
            fix=finding.fix and mended(finding.fix),
            alternatives=tuple(mended(fix) for fix in finding.alternatives),
        )
        for finding in report.findings
    ]
    return replace(report, findings=tuple(findings), problems=tuple(map(cut, report.problems)))
