"""``normadvisor fix``."""

from __future__ import annotations

import typer

from normadvisor.cli import options as o
from normadvisor.cli.given import check_options, printing_of, settings_finder
from normadvisor.errors import UsageError

__all__ = ["fix_command"]


def fix_command(  # noqa: PLR0913 - one parameter per flag; all are read by name
    *,
    targets: o.Targets = None,
    interactive: o.Interactive = False,
    diff: o.Diff = False,
    patch: o.Patch = None,
    write: o.Write = False,
    unsafe_fixes: o.UnsafeFixes = False,
    fix_only: o.FixOnly = False,
    select: o.Select = None,
    ignore: o.Ignore = None,
    extend_select: o.ExtendSelect = None,
    to: o.To = None,
    layers: o.Layers = None,
    groups: o.Groups = None,
    key_map: o.KeyMap = None,
    inputs: o.Inputs = None,
    batch_size: o.BatchSize = None,
    task: o.Task = None,
    loss: o.Loss = None,
    world_size: o.WorldSize = None,
    precision: o.Precision = None,
    distributed: o.Distributed = None,
    fine_tune: o.FineTune = None,
    severity: o.Severities = None,
    rules: o.Rules = None,
    format: o.Format = None,  # noqa: A002 - the name of the flag
    output: o.Output = None,
    fail_on: o.FailOn = None,
    exit_zero: o.ExitZero = False,
    baseline: o.Baseline = None,
    config: o.Config = None,
    exclude: o.Exclude = None,
    timeout: o.Timeout = None,
    memory: o.Memory = None,
    jobs: o.Jobs = None,
    static: o.Static = False,
    no_cache: o.NoCache = False,
    cache_dir: o.CacheDir = None,
    color: o.Color = "auto",
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Mend what check finds, in the source. Each fix is tried first, and rolled back unless its finding goes and no other comes.

    Safe fixes compute the same function, which is proven in train and eval mode; others need --unsafe-fixes or -i.

    Exit codes: 0 nothing remains, 1 findings remain (with --diff or --patch: something would change), 2 something could not be done.
    """
    given = dict(locals())
    options, printing = check_options(given), printing_of(given)
    from normadvisor.cli.fixing import FixFlags, fix_targets

    if to is None and (layers is not None or groups is not None):
        raise UsageError(f"{'--layers' if layers is not None else '--groups'} says what to convert, but not to what", hint="add --to NAME")
    wanted = FixFlags(
        unsafe=unsafe_fixes, interactive=interactive, diff=diff, patch=patch, write=write, fix_only=fix_only, key_map=key_map,
        to=_conversion(to), layers=o.words_of(layers) or ("*",),
        groups=32 if groups is None else int(o.positive("--groups", groups, whole=True)),
    )  # fmt: skip
    raise typer.Exit(fix_targets(targets or [], settings_finder(given), options, wanted, printing))


def _conversion(name: str | None) -> str | None:
    if name is None:
        return None
    from normadvisor.api.fixing.choices import CONVERSIONS

    return o.choice("--to", name.replace("-", "_"), CONVERSIONS)
