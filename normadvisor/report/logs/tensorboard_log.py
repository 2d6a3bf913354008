"""TensorBoard: one scalar curve per layer and kind of number, findings as text, written by TensorBoard's own writer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from normadvisor.errors import UsageError
from normadvisor.report.logs.registry import Log

__all__ = ["check", "start"]


def check(place: str) -> None:
    """Whether TensorBoard is installed and ``place`` may be a folder.

    Raises:
        UsageError: it is not installed, no folder is named, or a file stands there.

    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("logging to TensorBoard needs the package tensorboard", hint="pip install tensorboard")
    if not place:
        raise UsageError("no folder is named to log to", hint="write tensorboard:DIR")
    if not _is_address(place) and Path(place).expanduser().is_file():
        raise UsageError(f"'{place}' is a file", hint="write tensorboard:DIR")


def start(place: str, *, fresh: bool) -> Log:  # noqa: ARG001 - each run is a file of its own
    """Open an event file in the folder, which is made where it is missing.

    Raises:
        UsageError: it cannot be written.

    """
    check(place)
    from normadvisor.report.logs.tensorboard_events import EventFiles  # noqa: PLC0415 - the package is known to be there

    return EventFiles(place if _is_address(place) else str(Path(place).expanduser()))


def _is_address(place: str) -> bool:
    """Whether the writer takes it for an address such as ``s3://bucket/run``."""
    return "://" in place
