"""``normadvisor check``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normadvisor.cli import options as o

if TYPE_CHECKING:
    from normadvisor.api.check import Checked, CheckOptions
    from normadvisor.config import Settings
    from normadvisor.types import Report

__all__ = ["check_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Printing:
    """How the result is given to the user."""

    format: str | None
    output: Path | None
    statistics: bool
    color: str
    quiet: bool
    debug: bool
    write_baseline: bool
    exit_zero: bool


def check_command(  # noqa: PLR0913 - one parameter per flag
    *,
    targets: o.Targets = None,
    inputs: o.Inputs = None,
    batch_size: o.BatchSize = None,
    task: o.Task = None,
    loss: o.Loss = None,
    world_size: o.WorldSize = None,
    precision: o.Precision = None,
    distributed: o.Distributed = None,
    fine_tune: o.FineTune = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    extend_select: o.ExtendSelect = None,
    severity: o.Severities = None,
    rules: o.Rules = None,
    format: o.Format = None,  # noqa: A002 - the name of the flag
    output: o.Output = None,
    statistics: Annotated[bool, typer.Option("--statistics", help="Count the findings of each rule.")] = False,
    fail_on: o.FailOn = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 even if there are findings.")] = False,
    baseline: o.Baseline = None,
    write_baseline: Annotated[bool, typer.Option("--write-baseline", help="Write the findings to the baseline.")] = False,
    config: o.Config = None,
    show_graph: Annotated[bool, typer.Option("--show-graph", help="Print the graph of every model as a table.")] = False,
    exclude: o.Exclude = None,
    timeout: o.Timeout = None,
    memory: o.Memory = None,
    jobs: o.Jobs = None,
    static: Annotated[
        bool, typer.Option("--static", help="Import and run nothing: files are read, and no model is traced.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Read every file anew, and keep nothing.")] = False,
    cache_dir: o.CacheDir = None,
    color: o.Color = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes, no progress, nothing about a clean run.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what targets printed.")] = False,
) -> None:
    """Check models for normalization and activation mistakes.

    Exit codes: 0 clean, 1 findings, 2 something could not be checked.
    """
    from normadvisor.api.check import CheckOptions
    from normadvisor.config import load_settings

    context = o.context_of(
        batch_size=batch_size, task=task, loss=loss, world_size=world_size, precision=precision, distributed=distributed,
        fine_tune=fine_tune,
    )  # fmt: skip
    o.choice("--color", color, ("auto", "always", "never"))
    options = CheckOptions(
        inputs=tuple(inputs or ()), context=context, show_graph=show_graph, debug=debug, use_baseline=not write_baseline,
        jobs=None if jobs is None else int(o.positive("--jobs", jobs, whole=True)), static=static, use_cache=not no_cache,
        cache_dir=cache_dir,
    )  # fmt: skip
    printing = _Printing(
        format=format, output=output, statistics=statistics, color=color, quiet=quiet, debug=debug, write_baseline=write_baseline,
        exit_zero=exit_zero,
    )  # fmt: skip
    flags = {
        "select": select, "ignore": ignore, "extend_select": extend_select, "severity": severity, "rules": rules, "baseline": baseline,
        "fail_on": fail_on, "exclude": exclude, "timeout": timeout, "memory": memory,
    }  # fmt: skip
    _check_format(format)
    _check_output(output)

    def settings(start: Path) -> Settings:
        found = o.overridden(load_settings(start, config), **flags)
        _check_baseline(found, write=write_baseline)
        return found

    raise typer.Exit(_run(targets or [], settings, options, printing))


def _check_format(name: str | None) -> None:
    if name is not None:
        from normadvisor.report import format_names

        o.choice("--format", name, format_names())


def _check_output(path: Path | None) -> None:
    """Refuse a place that cannot be written before the work is done rather than after."""
    from normadvisor.errors import UsageError

    if path is None:
        return
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    except (OSError, ValueError):  # a NUL in the path, a name too long: writing says so
        return
    if is_folder:
        raise UsageError(f"--output: {path} is a folder", hint=f"name a file in it: --output {path / 'report'}")
    if not has_parent:
        raise UsageError(f"--output: there is no folder {path.parent}", hint="make it first")


def _check_baseline(settings: Settings, *, write: bool) -> None:
    if write and settings.baseline is None:
        from normadvisor.errors import UsageError

        raise UsageError("--write-baseline needs to know the file", hint="add --baseline FILE, or name it in the configuration")


def _run(targets: list[str], settings: Callable[[Path], Settings], options: CheckOptions, printing: _Printing) -> int:
    from normadvisor.api.check import run_check
    from normadvisor.cli.progress import shown_progress

    begin = time.monotonic()
    with shown_progress(quiet=printing.quiet) as progress:
        checked = run_check(targets, settings, options, progress=progress)
    if printing.write_baseline:
        checked = _with_new_baseline(checked)
    _print(checked, printing, time.monotonic() - begin)
    code = checked.report.exit_code(checked.settings.fail_on)
    return 0 if code == 1 and printing.exit_zero else code


def _with_new_baseline(checked: Checked) -> Checked:
    """Write the baseline, and count what stands in it as known."""
    from normadvisor.suppress import Baseline

    settings, report = checked.settings, checked.report
    if settings.baseline is None:
        raise AssertionError  # refused before anything was checked
    baseline = Baseline.from_findings(report.findings, root=settings.root)
    baseline.write(settings.baseline)
    number = sum(entry.count for entry in baseline.entries)
    note = f"{number} finding{'' if number == 1 else 's'} written to {settings.baseline}"
    known = baseline.apply(report.findings, root=settings.root).findings
    return replace(checked, report=replace(report, findings=known, notes=(*report.notes, note)))


def _print(checked: Checked, printing: _Printing, elapsed: float) -> None:
    """Notes to standard error, the report to standard output or a file."""
    from normadvisor.report import RenderOptions, render

    report, settings = checked.report, checked.settings
    name = printing.format or settings.format
    if not printing.quiet:
        _to_stderr(f"note: {note}" for note in report.notes)
    others: dict[str, Any] = {
        "root": Path.cwd(), "statistics": printing.statistics, "rules": checked.rules, "elapsed": elapsed, "fail_on": settings.fail_on,
        "debug": printing.debug,
    }  # fmt: skip
    color = {"always": True, "never": False}.get(printing.color)
    if printing.output is None:
        if printing.quiet and name in _PROSE and _is_clean(report):
            return
        text = render(report, name, options=RenderOptions.for_stream(sys.stdout, color=color, **others))
        sys.stdout.write(text)
    else:
        text = render(report, name, options=RenderOptions(color=bool(color), **others))
        _write(printing.output, text)
    if name not in _PROSE or printing.output is not None:
        _to_stderr(_problem_lines(report))


_PROSE = frozenset({"text", "concise"})
"""Formats that tell people what could not be checked; beside the others it is said on standard error as well."""


def _is_clean(report: Report) -> bool:
    return not (report.active or report.problems or report.graphs or report.unused_noqa)


def _problem_lines(report: Report) -> Iterator[str]:
    for problem in report.problems:
        place = f"{problem.location}: " if problem.location else ""
        hint = f" ({problem.hint})" if problem.hint else ""
        yield f"error: {place}could not check {problem.target}: {problem.message}{hint}"


def _to_stderr(lines: Iterable[str]) -> None:
    from normadvisor.report.clean import encodable

    for line in lines:
        sys.stderr.write(encodable(line, sys.stderr.encoding or "utf-8") + "\n")


def _write(path: Path, text: str) -> None:
    from normadvisor.errors import UsageError
    from normadvisor.suppress.files import replace_file

    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"--output: cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
