"""A callback for the ``Trainer`` of transformers.

    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[NormAdvisorTrainerCallback(every=100, log="tensorboard:runs/x")])
    trainer.train()

The trainer clips gradients before it calls ``on_pre_optimizer_step``; they are read where the backward pass ends, before that. Its
callbacks are not told the loss of a step, so that it is not among the numbers; the trainer logs it itself.
"""

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

try:
    from transformers import TrainerCallback
except ImportError as missing:
    raise UsageError("the callback for the Trainer needs the package transformers", hint="pip install transformers") from missing

__all__ = ["NormAdvisorTrainerCallback"]


class NormAdvisorTrainerCallback(TrainerCallback):  # type: ignore[misc] # transformers is not read by the type checker
    """Measure one of ``every`` optimizer steps.

    The trainer tells nobody when an exception ends a training; the hooks then stay until :meth:`close` or the next training.

    Args:
        every: the first step is measured, and then one of so many.
        log: what :func:`normadvisor.watch` takes: ``tensorboard:DIR``, ``csv:FILE``, ``wandb`` for the run that the trainer has opened, a
            function, or several in a list.
        rules: whether rules look at the numbers; what they find is told to the logger ``normadvisor``.
        stop_on: ``warning`` or ``error``: end the training where rules find something so grave.
        settings: which rules; the nearest configuration above the working directory when ``None``.

    Raises:
        UsageError: an argument is wrong.

    """

    def __init__(
        self,
        *,
        every: int = 100,
        log: str | Sink | Sequence[str | Sink] | None = None,
        rules: bool = True,
        stop_on: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__()
        self._log = [] if log is None else [log] if isinstance(log, str) or callable(log) else list(log)
        self._every = every
        self._rules = rules
        self._stop_on = severity(stop_on, "stop_on")
        self._settings = settings
        self._watching: Watch | None = None
        self._active = False
        self._stop = False

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
            raise UsageError("there is nothing to report before a training", hint="call trainer.train first")
        return self._watching.report()

    def close(self) -> None:
        """Take off every hook; for trainings that an exception ended."""
        if self._active and self._watching is not None:
            self._active = False
            self._watching.__exit__(None, None, None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's signature
        """Begin to watch."""
        self.close()
        self._stop = False
        self._watching = watch(
            kwargs["model"], every=self._every, log=[*self._log, self._take], rules=self._rules, first_step=int(state.global_step),
            scaler=getattr(kwargs.get("optimizer"), "scaler", None), settings=self._settings,
        )  # fmt: skip
        self._watching.__enter__()
        self._active = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the trainer's signature
        """End the training where rules found something grave."""
        if self._stop:
            control.should_training_stop = True
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's signature
        """Take off every hook."""
        self.close()

    def _take(self, numbers: StepNumbers) -> None:
        if self._stop_on is not None and any(finding.severity.rank >= self._stop_on.rank for finding in numbers.findings):
            self._stop = True
