"""Progress on standard error while somebody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from normadvisor.api.progress import Progress, ProgressCallback

__all__ = ["shown_progress"]

_PATIENCE = 0.5
"""Seconds before anything is shown: short runs end without."""


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[ProgressCallback | None]:
    """A callback that draws a progress bar; ``None`` when nobody watches or asked not to be told."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    painter = _Painter()
    try:
        yield painter.update
    finally:
        painter.stop()


class _Painter:
    """Draws once a run has lasted a little."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def update(self, step: Progress) -> None:
        if self._bar is None:
            if time.monotonic() - self._begin < _PATIENCE:
                return
            self._start()
        if self._bar is None or self._task is None:
            return
        part = f": {step.part}" if step.part else ""
        words = f"{step.phase} {step.target}{part}".strip()
        self._bar.update(self._task, completed=step.done, total=step.total, description=words[-60:])

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=None)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
