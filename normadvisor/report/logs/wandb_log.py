"""Weights & Biases: numbers go to the run that is open, or to one of their own."""

from __future__ import annotations

import importlib.util

from normadvisor.errors import UsageError
from normadvisor.report.logs.registry import Log

__all__ = ["check", "start"]


def check(place: str) -> None:  # noqa: ARG001 - any text may name a project
    """Whether the package is installed.

    Raises:
        UsageError: it is not.

    """
    if importlib.util.find_spec("wandb") is None:
        raise UsageError("logging to Weights & Biases needs the package wandb", hint="pip install wandb")


def start(place: str, *, fresh: bool) -> Log:  # noqa: ARG001 - each run is kept for itself
    """Join the run that is open in this process, or open one in the project called ``place``.

    Raises:
        UsageError: none is open and none can be opened, for example because nobody is logged in.

    """
    check(place)
    from normadvisor.report.logs.wandb_run import WandbRun  # noqa: PLC0415 - the package is known to be there

    return WandbRun(place)
