"""``normadvisor probe``."""

from __future__ import annotations

import typer

from normadvisor.cli import options as o
from normadvisor.cli import probe_options as p
from normadvisor.cli.given import check_options, printing_of, settings_finder
from normadvisor.cli.probing import Outputs, probe_targets
from normadvisor.cli.ranked import for_rank

__all__ = ["probe_command"]


def probe_command(  # noqa: PLR0913 - one parameter per flag; all are read by name
    *,
    targets: o.Targets = None,
    device: p.Device = None,
    steps: p.Steps = None,
    batch_size: o.BatchSize = None,
    data: p.Data = None,
    loss: p.Loss = None,
    optimizer: p.Optimizer = None,
    lr: p.LearningRate = None,
    precision: o.Precision = None,
    seed: p.Seed = None,
    exact: p.Exact = False,
    budget: p.Budget = None,
    memory: o.Memory = None,
    timeout: o.Timeout = None,
    inputs: o.Inputs = None,
    task: o.Task = None,
    world_size: o.WorldSize = None,
    distributed: o.Distributed = None,
    fine_tune: o.FineTune = None,
    html: p.Html = None,
    json: p.Json = None,
    log: p.Log = None,
    compare: p.Compare = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    extend_select: o.ExtendSelect = None,
    severity: o.Severities = None,
    rules: o.Rules = None,
    format: o.Format = None,  # noqa: A002 - the name of the flag
    output: o.Output = None,
    fail_on: o.FailOn = None,
    exit_zero: o.ExitZero = False,
    baseline: o.Baseline = None,
    config: o.Config = None,
    exclude: o.Exclude = None,
    no_cache: o.NoCache = False,
    cache_dir: o.CacheDir = None,
    color: o.Color = "auto",
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train models for a few steps and measure every layer: gradients, activations, statistics. Nothing of the model is changed.

    Inputs, batches and a loss that fits the output are chosen where they are not given, and it is said which.

    Started by torchrun (torchrun --nproc-per-node 2 -m normadvisor probe TARGET), processes measure it together, each on data of its own;
    rank 0 reports for all, and a batch size is that of all together.

    Exit codes: 0 clean, 1 findings, 2 something could not be measured.
    """
    given = for_rank(locals())
    outputs = Outputs.of(given)
    wanted = p.probe_options(given)
    options = check_options({**given, **p.context_flags(given)}, probing=wanted, static_rules=False)
    raise typer.Exit(probe_targets(targets or [], settings_finder(given), options, printing_of(given), outputs))
