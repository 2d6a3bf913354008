"""A callback for the ``Trainer`` of transformers.

    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[NormAdvisorTrainerCallback(every=100, log="tensorboard:runs/x")])
    trainer.train()

The trainer clips gradients before it calls ``on_pre_optimizer_step``; they are read where the backward pass ends, before that. Its
callbacks are not told the loss of a step, so that it is not among the numbers; the trainer logs it itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.integrations.callback import WatchingCallback
from normadvisor.integrations.logs import Sink
from normadvisor.report.logs import StepNumbers

try:
    from transformers import TrainerCallback
except ImportError as missing:
    raise UsageError("the callback for the Trainer needs the package transformers", hint="pip install transformers") from missing

__all__ = ["NormAdvisorTrainerCallback"]


class NormAdvisorTrainerCallback(WatchingCallback, TrainerCallback):  # type: ignore[misc] # transformers is not read by the type checker
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
        super().__init__(every=every, log=log, rules=rules, stop_on=stop_on, settings=settings, begin="trainer.train")
        self._stop = False

    def close(self) -> None:
        """Take off every hook; for trainings that an exception ended."""
        self._leave(None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's signature
        """Begin to watch."""
        self._stop = False
        scaler = getattr(kwargs.get("optimizer"), "scaler", None)
        self._enter(kwargs["model"], log=[self._take], first_step=int(state.global_step), scaler=scaler)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the trainer's signature
        """End the training where rules found something grave."""
        if self._stop:
            control.should_training_stop = True
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the trainer's signature
        """Take off every hook."""
        self.close()

    def _take(self, numbers: StepNumbers) -> None:
        self._stop = self._stop or self._too_grave(numbers)
