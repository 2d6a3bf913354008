"""The edits of source that do what an optimized model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.cli.printing import Printing, to_stderr

if TYPE_CHECKING:
    from normadvisor.api.check import CheckOptions
    from normadvisor.config import Settings
    from normadvisor.types import Report

__all__ = ["EDITED", "print_upgrades"]

EDITED = ("NA704", "NA705")
"""Rules whose replacements can be written into the source."""


def print_upgrades(
    targets: Sequence[str], settings: Callable[[Path], Settings], options: CheckOptions, printing: Printing, report: Report
) -> None:
    """Print the edits of the rules that something was kept of; nothing is written.

    Args:
        targets: as on the command line.
        settings: finds the settings.
        options: how the targets were optimized.
        printing: how to print.
        report: what was kept.

    Raises:
        NormAdvisorError: the configuration or a rule is wrong.

    """
    from normadvisor.api.fixing import Fixer, FixOptions
    from normadvisor.cli.fixing import print_diff

    kept = tuple(dict.fromkeys(row.rule for found in report.optimizations for row in found.kept if row.rule in EDITED))
    if not kept:
        to_stderr(["nothing that was kept can be written into the source"])
        return
    wanted = FixOptions(check=replace(options, optimizing=None, static_rules=True))
    with Fixer(targets, lambda start: replace(settings(start), select=kept, extend_select=()), wanted, None) as fixer:
        run = fixer.fix_all(unsafe=False)
    print_diff(run, printing)
    if not run.changes:
        to_stderr([f"{' and '.join(kept)}: what was kept cannot be written into the source"])
