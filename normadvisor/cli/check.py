"""``normadvisor check``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normadvisor.cli import options as o
from normadvisor.cli import probe_options as p
from normadvisor.cli.given import check_options, printing_of, settings_finder
from normadvisor.cli.printing import Printing, print_notes, print_report
from normadvisor.cli.ranked import for_rank
from normadvisor.errors import UsageError

if TYPE_CHECKING:
    from normadvisor.api.check import Checked, CheckOptions
    from normadvisor.config import Settings

__all__ = ["check_command"]


def check_command(  # noqa: PLR0913 - one parameter per flag; all are read by name
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
    exit_zero: o.ExitZero = False,
    baseline: o.Baseline = None,
    write_baseline: Annotated[bool, typer.Option("--write-baseline", help="Write the findings to the baseline.")] = False,
    config: o.Config = None,
    show_graph: Annotated[bool, typer.Option("--show-graph", help="Print the graph of every model as a table.")] = False,
    exclude: o.Exclude = None,
    timeout: o.Timeout = None,
    memory: o.Memory = None,
    jobs: o.Jobs = None,
    static: o.Static = False,
    no_cache: o.NoCache = False,
    cache_dir: o.CacheDir = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure models as well, as 'normadvisor probe' does: findings are confirmed or withdrawn.")
    ] = False,
    device: p.Device = None,
    steps: p.Steps = None,
    data: p.Data = None,
    optimizer: p.Optimizer = None,
    lr: p.LearningRate = None,
    seed: p.Seed = None,
    exact: p.Exact = False,
    budget: p.Budget = None,
    fix_now: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely, as 'normadvisor fix' does.")] = False,
    unsafe_fixes: o.UnsafeFixes = False,
    interactive: o.Interactive = False,
    diff: o.Diff = False,
    patch: o.Patch = None,
    fix_only: o.FixOnly = False,
    color: o.Color = "auto",
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Check models for normalization and activation mistakes.

    Exit codes: 0 clean, 1 findings, 2 something could not be checked.
    """
    given = dict(locals())
    probing = _probing(given)
    if probing is not None:
        given = for_rank(given)
    context = given if probing is None else {**given, **p.context_flags(given)}
    options, printing, find = check_options(context, probing=probing), printing_of(given), settings_finder(given)

    def settings(start: Path) -> Settings:
        found = find(start)
        _check_baseline(found, write=write_baseline)
        return found

    if fix_now or diff or patch is not None or interactive:
        from normadvisor.cli.fixing import FixFlags, fix_targets

        if write_baseline:
            raise UsageError("--write-baseline does not go together with fixing", hint="write the baseline in a run of its own")
        wanted = FixFlags(unsafe=unsafe_fixes, interactive=interactive, diff=diff, patch=patch, fix_only=fix_only)
        raise typer.Exit(fix_targets(targets or [], settings, options, wanted, printing))
    for flag, is_given in (("--unsafe-fixes", unsafe_fixes), ("--fix-only", fix_only)):
        if is_given:
            raise UsageError(f"{flag} says how to fix, but nothing is to be fixed", hint="add --fix, --diff, --patch FILE or -i")
    raise typer.Exit(_run(targets or [], settings, options, printing, write_baseline=write_baseline))


_OF_PROBE = ("device", "steps", "data", "optimizer", "lr", "seed", "exact", "budget")
"""Flags that say how to measure."""


def _probing(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """How to measure; ``None`` where nothing is to be measured.

    Raises:
        UsageError: a flag is wrong, or has no sense here.

    """
    if not given["probe"]:
        said = [name for name in _OF_PROBE if given[name] not in {None, False}]
        if said:
            raise UsageError(f"--{said[0]} says how to measure, but nothing is to be measured", hint="add --probe")
        return None
    if given["static"]:
        raise UsageError("--static and --probe do not go together", hint="to measure a model is to run it")
    return p.probe_options(given)


def _check_baseline(settings: Settings, *, write: bool) -> None:
    if write and settings.baseline is None:
        raise UsageError("--write-baseline needs to know the file", hint="add --baseline FILE, or name it in the configuration")


def _run(
    targets: list[str], settings: Callable[[Path], Settings], options: CheckOptions, printing: Printing, *, write_baseline: bool
) -> int:
    from normadvisor.api.check import run_check
    from normadvisor.cli.progress import shown_progress

    begin = time.monotonic()
    with shown_progress(quiet=printing.quiet) as progress:
        checked = run_check(targets, settings, options, progress=progress)
    if write_baseline:
        checked = _with_new_baseline(checked)
    print_notes(checked, printing)
    print_report(checked, printing, time.monotonic() - begin)
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
