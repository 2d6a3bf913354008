"""``normadvisor optimize``."""

from __future__ import annotations

import typer

from normadvisor.cli import optimize_options as p
from normadvisor.cli import options as o
from normadvisor.cli.given import check_options, printing_of, settings_finder
from normadvisor.cli.optimizing import optimize_targets
from normadvisor.cli.probe_options import Device, Seed

__all__ = ["optimize_command"]


def optimize_command(  # noqa: PLR0913 - one parameter per flag; all are read by name
    *,
    targets: o.Targets = None,
    mode: p.For = "inference",
    device: Device = None,
    dtype: p.Dtype = None,
    inputs: o.Inputs = None,
    batch_size: p.BatchSize = None,
    only: p.Only = None,
    channels_last: p.ChannelsLast = "auto",
    compile: p.Compile = False,  # noqa: A002 - the name of the flag
    budget: p.Budget = None,
    threads: p.Threads = None,
    allow_busy: p.AllowBusy = False,
    no_cache: p.NoCache = False,
    seed: Seed = None,
    save: p.Save = None,
    report: p.Report = None,
    diff: p.Diff = False,
    memory: o.Memory = None,
    timeout: o.Timeout = None,
    format: o.Format = None,  # noqa: A002 - the name of the flag
    output: o.Output = None,
    config: o.Config = None,
    color: o.Color = "auto",
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Replace parts of models by faster ones that compute the same: proven equal, measured here, and kept where they are faster.

    For inference a copy in eval mode is changed, for training the model as it trains. Nothing of the target's source is written.

    Exit codes: 0 done, whether or not something was kept; 2 something could not be optimized.
    """
    given = dict(locals())
    wanted = p.optimize_options(given)
    saved = p.save_file(save, wanted.mode)
    place = p.report_file(report)
    options = check_options({**given, "no_cache": True}, optimizing=(wanted, saved))
    raise typer.Exit(optimize_targets(targets or [], settings_finder(given), options, printing_of(given), report=place, diff=diff))
