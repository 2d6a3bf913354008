"""Which kinds of logs there are, and the way to them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from normadvisor.errors import UsageError
from normadvisor.report.logs.step import StepNumbers, steps_of
from normadvisor.types import Measurements

__all__ = ["Destination", "Log", "destination", "log_kinds", "log_measurements", "start_log"]

SUFFIX = "_log"


class Log(Protocol):
    """A log that is open."""

    def write(self, numbers: StepNumbers) -> None:
        """Add the numbers of one step; they can be read by others when this returns, or soon after."""

    def close(self) -> None:
        """Write what is left. Called once."""


class Kind(Protocol):
    """A module ``<kind>_log.py`` beside this one."""

    def check(self, place: str) -> None:
        """Whether ``place`` can be used and the package is there, as far as can be told without writing anything.

        Raises:
            UsageError: it cannot.

        """

    def start(self, place: str, *, fresh: bool) -> Log:
        """Open the log.

        Args:
            place: what follows the colon, empty where nothing does.
            fresh: replace what an earlier run wrote there, where this kind keeps runs in one file; else go on behind it.

        Raises:
            UsageError: the place cannot be written to, or the package is missing.

        """


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to log, checked."""

    kind: str
    place: str = ""

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.kind}:{self.place}" if self.place else self.kind


@cache
def log_kinds() -> tuple[str, ...]:
    """Names of the kinds, in alphabetical order, without importing any of them."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return tuple(sorted(module.name.removesuffix(SUFFIX) for module in modules if module.name.endswith(SUFFIX)))


def destination(text: str) -> Destination:
    """Read ``KIND`` or ``KIND:PLACE``, and check that it can be used.

    Raises:
        UsageError: there is no such kind, the place is wrong, or a package is missing.

    """
    kind, _, place = text.partition(":")
    if kind not in log_kinds():
        from normadvisor.config.suggest import did_you_mean  # noqa: PLC0415 - only errors need it

        hint = did_you_mean(kind, log_kinds()) or "write csv:FILE, tensorboard:DIR, wandb or wandb:PROJECT"
        raise UsageError(f"unknown kind of log '{kind}'", hint=hint)
    _module(kind).check(place)
    return Destination(kind, place)


def start_log(where: Destination | str, *, fresh: bool = False) -> Log:
    """Open a log for one step after the other.

    Args:
        where: as text, or checked before.
        fresh: replace what an earlier run wrote there; else go on behind it.

    Raises:
        UsageError: it cannot be used.

    """
    where = destination(where) if isinstance(where, str) else where
    return _module(where.kind).start(where.place, fresh=fresh)


def log_measurements(measurements: Iterable[Measurements], where: Destination | str) -> None:
    """Log all steps of probes that are done; what an earlier run wrote into the same file is replaced.

    Facts that count no steps are not logged: the JSON report holds them.

    Raises:
        UsageError: the place cannot be used.

    """
    log = start_log(where, fresh=True)
    try:
        for one in measurements:
            for numbers in steps_of(one):
                log.write(numbers)
    finally:
        log.close()


def _module(kind: str) -> Kind:
    return cast("Kind", importlib.import_module(f"{__package__}.{kind}{SUFFIX}"))
