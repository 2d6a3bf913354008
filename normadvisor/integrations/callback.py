"""What the callbacks for several trainers share: their arguments, what was measured, and ending a training that went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from normadvisor.api.shown import ProbeResult
from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.integrations.logs import Sink
from normadvisor.integrations.severities import severity
from normadvisor.integrations.watch import Watch, watch
from normadvisor.report.logs import StepNumbers
from normadvisor.types import Finding

__all__ = ["WatchingCallback"]


class WatchingCallback:
    """Watches a training from its begin to its end.

    Args:
        every: the first step is measured, and then one of so many.
        log: what :func:`normadvisor.watch` takes, or several in a list; ``None`` for none.
        rules: whether rules look at the numbers.
        stop_on: severity from which on a finding ends the training.
        settings: which rules; the nearest configuration above the working directory when ``None``.
        begin: the trainer's method that begins a training, for messages.

    Raises:
        UsageError: an argument is wrong.

    """

    def __init__(
        self,
        *,
        every: int,
        log: str | Sink | Sequence[str | Sink] | None,
        rules: bool,
        stop_on: str | None,
        settings: Settings | None,
        begin: str,
    ) -> None:
        super().__init__()
        self._log = [] if log is None else [log] if isinstance(log, str) or callable(log) else list(log)
        self._every = every
        self._rules = rules
        self._stop_on = severity(stop_on, "stop_on")
        self._settings = settings
        self._begin = begin
        self._watching: Watch | None = None
        self._active = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What rules say of the steps measured so far."""
        return () if self._watching is None else self._watching.findings

    def report(self) -> ProbeResult:
        """The numbers and what rules say of them.

        Raises:
            UsageError: no training has begun.

        """
        if self._watching is None:
            raise UsageError("there is nothing to report before a training", hint=f"call {self._begin} first")
        return self._watching.report()

    def _enter(self, model: Any, *, log: Sequence[str | Sink], first_step: int, scaler: Any) -> None:
        """Begin to watch; ``log`` is what the trainer's own numbers go to beside what was asked for."""
        self._leave(None)
        self._watching = watch(
            model, every=self._every, log=[*self._log, *log], rules=self._rules, first_step=first_step, scaler=scaler,
            settings=self._settings,
        )  # fmt: skip
        self._watching.__enter__()
        self._active = True

    def _leave(self, error: BaseException | None) -> None:
        """Take off every hook, if they are on."""
        if self._active and self._watching is not None:
            self._active = False
            self._watching.__exit__(None if error is None else type(error), error, None)

    def _too_grave(self, numbers: StepNumbers) -> bool:
        """Whether a finding of the step is to end the training."""
        return self._stop_on is not None and any(finding.severity.rank >= self._stop_on.rank for finding in numbers.findings)
